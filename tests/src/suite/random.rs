//! Cases with random outputs: their expected numbers are what numpy happened to draw, so that only types and shapes can be
//! compared. Their distributions are tested in `compiler/lower/tests/routine.rs`, by `eval` and by the kernels.

const BERNOULLI: &str = "each element is drawn";
const UNIFORM: &str = "the function body of Bernoulli draws with RandomUniformLike";
const DROPOUT: &str = "the kept elements are drawn";

/// Path of the case and what is random about it. Dropout in training with ratio 0 keeps everything and is not among them.
const CASES: &[(&str, &str)] = &[
    ("node/test_bernoulli", BERNOULLI),
    ("node/test_bernoulli_double", BERNOULLI),
    ("node/test_bernoulli_double_expanded", UNIFORM),
    ("node/test_bernoulli_expanded", UNIFORM),
    ("node/test_bernoulli_seed", BERNOULLI),
    ("node/test_bernoulli_seed_expanded", UNIFORM),
    ("node/test_training_dropout", DROPOUT),
    ("node/test_training_dropout_default", DROPOUT),
    ("node/test_training_dropout_default_mask", DROPOUT),
    ("node/test_training_dropout_mask", DROPOUT),
];

/// Why the numbers of a case cannot be compared.
pub fn reason(path: &str) -> Option<&'static str> {
    CASES.iter().find(|(case, _)| *case == path).map(|(_, reason)| *reason)
}
