#ifndef AMEND_CORE_MODEL_ACTIVATION_H_
#define AMEND_CORE_MODEL_ACTIVATION_H_

namespace amend {

// What an MLP's first projection goes through. kGelu is x (1 + erf(x / sqrt 2)) / 2, kGeluNew its
// approximation with tanh (Hugging Face's "gelu_new", "gelu_fast", "gelu_pytorch_tanh").
enum class Activation { kNone, kGeluNew, kGelu };

}  // namespace amend

#endif  // AMEND_CORE_MODEL_ACTIVATION_H_
