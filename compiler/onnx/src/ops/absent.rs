//! Standard operators that are not supported on purpose, each with the reason. What is in neither this table nor that of the
//! rows is no standard operator.

const STRINGS: &str = "tensors of strings do not exist in a module; prepare text before the model";
const MAPS: &str = "maps do not exist in a module; build the tensor before the model";
const CLASSICAL: &str = "classical machine learning is out of scope: no PyTorch exporter writes it";

/// Domain, operators, reason.
const TABLE: &[(&str, &[&str], &str)] = &[
    ("", &["RegexFullMatch", "StringConcat", "StringNormalizer", "StringSplit"], STRINGS),
    ("", &["ImageDecoder"], "every host decodes images itself; give the model pixels"),
    ("ai.onnx.ml", &["CategoryMapper", "LabelEncoder"], STRINGS),
    ("ai.onnx.ml", &["CastMap", "DictVectorizer", "ZipMap"], MAPS),
    (
        "ai.onnx.ml",
        &[
            "ArrayFeatureExtractor",
            "Binarizer",
            "FeatureVectorizer",
            "Imputer",
            "LinearClassifier",
            "LinearRegressor",
            "Normalizer",
            "OneHotEncoder",
            "SVMClassifier",
            "SVMRegressor",
            "Scaler",
            "TreeEnsemble",
            "TreeEnsembleClassifier",
            "TreeEnsembleRegressor",
        ],
        CLASSICAL,
    ),
    ("ai.onnx.preview.training", &["Gradient"], "it differentiates other nodes of the file; export the gradient as a graph instead"),
];

/// Why a standard operator is not supported; the default domain is `""`.
pub fn why_absent(domain: &str, name: &str) -> Option<&'static str> {
    TABLE.iter().find(|(of, names, _)| *of == domain && names.contains(&name)).map(|(_, _, reason)| *reason)
}
