//! The runner: levels, choice of passes, errors, explanations, and the check that finds a wrong pass.

use ir::text::parse_graph;
use passes::{CheckOptions, Event, Level, Options, PIPELINE, PassError, names, run, same_results};

const NET: &str = r#"
%x: f32[1,2,4,4] = input
%w: f32[3,2,3,3] = const random(1)
%s: f32[3,1,1] = const random(2)
%c = conv(%x, %w; strides=[1,1], pads=[1,1,1,1], dilations=[1,1], group=1, data=nchw) @ "conv"
%n = mul(%c, %s) @ "bn"
%r = relu(%n) @ "relu"
%k = add(%c, %r) @ "sum"
output "y" = %k
output "r" = %r
"#;

fn ran(options: &Options) -> Vec<&'static str> {
    let mut graph = parse_graph(NET).unwrap();
    run(&mut graph, options, &mut |_| {}).unwrap().passes.iter().map(|p| p.name).collect()
}

#[test]
fn levels_choose_passes() {
    let at = |level| ran(&Options { level, ..Options::default() });
    assert_eq!(at(Level::O0), [] as [&str; 0]);
    let o1 = at(Level::O1);
    assert_eq!(o1[..3], ["constant_folding", "eliminate_dead_code", "share_common"]);
    assert!(!o1.contains(&"nhwc_layout"));
    assert_eq!(at(Level::O2).len(), PIPELINE.len());
    assert_eq!(at(Level::O3), at(Level::O2));
}

#[test]
fn passes_can_be_chosen_and_disabled() {
    let only = Options { only: Some(vec!["nhwc_layout".into(), "constant_folding".into()]), level: Level::O0, ..Options::default() };
    assert_eq!(ran(&only), ["constant_folding", "nhwc_layout", "constant_folding"]);
    let disabled = Options { disabled: vec!["fuse_pointwise".into()], ..Options::default() };
    assert!(!ran(&disabled).contains(&"fuse_pointwise"));
    let until = Options { stop_after: Some("fuse_conv_bn_relu".into()), ..Options::default() };
    assert_eq!(ran(&until).last(), Some(&"fuse_conv_bn_relu"));
}

#[test]
fn unknown_names_get_a_suggestion() {
    let mut graph = parse_graph(NET).unwrap();
    let mut error = |options: Options| run(&mut graph, &options, &mut |_| {}).unwrap_err().to_string();
    let text = error(Options { only: Some(vec!["constant_fold".into()]), ..Options::default() });
    assert!(
        text.starts_with(
            "there is no pass `constant_fold`, did you mean `constant_folding`?; passes are: integer_layers, constant_folding, "
        ),
        "{text}"
    );
    let text = error(Options { disabled: vec!["zzz".into()], ..Options::default() });
    assert!(text.starts_with("there is no pass `zzz`; passes are"), "{text}");
    let text = error(Options { explain: Some("scale_cnv".into()), ..Options::default() });
    assert!(text.contains("did you mean `scale_conv`?"), "{text}");
}

#[test]
fn the_table_is_complete() {
    for pass in PIPELINE {
        assert!(!pass.summary.is_empty() && !pass.place.is_empty(), "{pass:?}");
    }
    assert_eq!(
        names(),
        [
            "integer_layers",
            "constant_folding",
            "eliminate_dead_code",
            "share_common",
            "integer_products",
            "fuse_conv_bn_relu",
            "fuse_linear_activation",
            "fuse_attention_ops",
            "fuse_pointwise",
            "quantize_int8",
            "nhwc_layout",
            "compress_weights"
        ]
    );
}

#[test]
fn explanations_name_layers() {
    let mut graph = parse_graph(NET).unwrap();
    let report = run(&mut graph, &Options { explain: Some("scale_conv".into()), ..Options::default() }, &mut |_| {}).unwrap();
    let notes: Vec<String> = report.notes.iter().map(ToString::to_string).collect();
    assert_eq!(notes, ["fuse_conv_bn_relu: scale_conv did not fire at `bn` (map): the result of `conv` (conv) is used by 2 nodes"]);
}

#[test]
fn observers_hear_of_every_pass() {
    let mut graph = parse_graph(NET).unwrap();
    let (mut begun, mut ended) = (0, 0);
    let report = run(&mut graph, &Options { check: Some(CheckOptions::default()), ..Options::default() }, &mut |event| match event {
        Event::Begin(_) => begun += 1,
        Event::End(_) => ended += 1,
    })
    .unwrap();
    assert_eq!((begun, ended), (PIPELINE.len(), PIPELINE.len()));
    let layout = report.passes.iter().find(|p| p.name == "nhwc_layout").unwrap();
    assert_eq!(layout.rules, [("channels_last", 1)]);
}

/// What `--check-passes` says when a pass is wrong: the pass, the output, and the first layer that differs.
#[test]
fn the_check_names_pass_and_layer() {
    let before = parse_graph(NET).unwrap();
    let after = parse_graph(&NET.replace("%r = relu(%n)", "%r = abs(%n)")).unwrap();
    let error = same_results(&before, &after, "culprit", &CheckOptions::default()).unwrap_err();
    let PassError::Check { pass, what, .. } = &error else { panic!("{error}") };
    assert_eq!((*pass, &what[..]), ("culprit", "output `y` (first different layer: `relu` (map))"));
}
