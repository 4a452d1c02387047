//! Every rule of the table: it fires on its one graph and leaves the other alone, and both sides compute the same.

use ir::text::parse_graph;
use passes::rules::{self, RULES, Rule};
use passes::{CheckOptions, Context, same_results};

/// Applies one rule; how often it fired, and the graph before and after.
fn fire(rule: &Rule, text: &str) -> (usize, ir::Graph, ir::Graph, Vec<String>) {
    let before = parse_graph(text).unwrap_or_else(|e| panic!("{}: {e}\n{text}", rule.name));
    let mut after = before.clone();
    let mut context = Context::new(Some(rule.name));
    context.begin(rule.passes[0]);
    rules::apply_where(&mut after, &mut context, &|r| r.name == rule.name).unwrap();
    let errors = ir::verify::verify(&after).err().unwrap_or_default();
    assert!(errors.is_empty(), "{}: {errors:?}", rule.name);
    let notes = context.notes();
    let fired = notes.iter().filter(|n| n.missed.is_none()).count();
    (fired, before, after, notes.iter().map(ToString::to_string).collect())
}

#[test]
fn rules_fire_and_keep_the_result() {
    for rule in RULES.iter().copied().flatten() {
        let (fired, before, after, notes) = fire(rule, rule.fires);
        assert!(fired > 0, "{} does not fire: {notes:?}", rule.name);
        for seed in 0..5 {
            same_results(&before, &after, rule.name, &CheckOptions { seed, ..CheckOptions::default() }).unwrap();
        }
    }
}

#[test]
fn rules_leave_other_graphs_alone() {
    for rule in RULES.iter().copied().flatten() {
        let (fired, before, after, notes) = fire(rule, rule.not);
        assert_eq!(fired, 0, "{} fires where it must not", rule.name);
        assert_eq!(before.to_string(), after.to_string(), "{}", rule.name);
        // The rule looked at the place and says why not, unless not even the root is alike.
        assert!(notes.len() <= 2, "{}: {notes:?}", rule.name);
    }
}

#[test]
fn names_are_unique_and_passes_exist() {
    let names = rules::names();
    for (i, name) in names.iter().enumerate() {
        assert!(!names[..i].contains(name), "{name} twice");
    }
    for rule in RULES.iter().copied().flatten() {
        assert!(rule.passes.iter().all(|p| passes::pass_named(p).is_some()), "{}", rule.name);
    }
}

#[test]
fn a_near_miss_says_why() {
    let rule = RULES.iter().copied().flatten().find(|r| r.name == "scale_conv").unwrap();
    let (_, _, _, notes) = fire(rule, rule.not);
    assert_eq!(notes, ["fuse_conv_bn_relu: scale_conv did not fire at `y` (map): ?s = `s` does not vary along the output channels"]);
}
