//! The order in which the CUDA backend launches two concurrent series, which needs no GPU.

#[path = "../src/cuda/series.rs"]
mod series;

use series::Series;

#[test]
fn operations_are_noted_in_the_series_whose_closure_runs() {
    let mut series = Series::new();
    assert_eq!(series.note("norm of the text"), None);
    assert_eq!(series.note("linear of the text"), None);
    series.begin_long();
    assert_eq!(series.note("norm of the image"), None);
    let short = vec!["norm of the text", "linear of the text"];
    assert_eq!(series.take(), (short, vec!["norm of the image"]));
    // What was taken is not launched again.
    assert_eq!(series.note("linear of the image"), None);
    assert_eq!(series.take(), (vec![], vec!["linear of the image"]));
}

#[test]
fn once_burn_computes_the_rest_is_launched_at_once() {
    let mut series = Series::new();
    assert_eq!(series.note("norm in bf16"), None);
    // A layer in f16, for which there is no kernel, is handed back: what it reads is launched.
    assert_eq!(series.take(), (vec!["norm in bf16"], vec![]));
    series.end();
    assert_eq!(series.note("linear in bf16"), Some("linear in bf16"));
    series.begin_long();
    assert_eq!(series.note("norm of the image"), Some("norm of the image"));
    assert_eq!(series.take(), (vec![], vec![]));
}
