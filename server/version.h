#ifndef AMEND_SERVER_VERSION_H_
#define AMEND_SERVER_VERSION_H_

namespace amend {

// Of the server and its API (semver.org).
inline constexpr char kVersion[] = "0.1.0";

}  // namespace amend

#endif  // AMEND_SERVER_VERSION_H_
