#ifndef AMEND_CORE_MODEL_STORED_PROJECTION_H_
#define AMEND_CORE_MODEL_STORED_PROJECTION_H_

#include <string>

namespace amend {

// How a checkpoint stores a projection's matrix.
enum class ProjectionLayout { kOutIn, kInOut };

// Where a checkpoint has a projection's matrix. A leading "transformer." may be absent in the file.
struct StoredProjection {
  std::string tensor;
  ProjectionLayout layout = ProjectionLayout::kOutIn;
};

}  // namespace amend

#endif  // AMEND_CORE_MODEL_STORED_PROJECTION_H_
