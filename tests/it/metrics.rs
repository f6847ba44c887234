//! What is counted for the `metrics` facade, as Prometheus gets it; and that the documents say so.

use std::collections::BTreeSet;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use s3flow::Limits;
use s3flow::testing::{Fault, Operation};

use crate::support::Fixture;

const DOCUMENT: &str = include_str!("../../docs/observability.md");
const DASHBOARD: &str = include_str!("../../docs/grafana.json");

/// The sum of all values whose name and labels begin so.
fn sum(handle: &PrometheusHandle, series: &str) -> f64 {
    let rendered = handle.render();
    let values = rendered.lines().filter(|line| line.starts_with(series)).map(|line| line.rsplit_once(' ').unwrap().1);
    values.map(|value| value.parse::<f64>().unwrap()).sum()
}

/// Names that begin with `s3flow_`, without what an exporter adds to those of a histogram.
fn names_in(text: &str) -> BTreeSet<&str> {
    let words = text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
    let names = words.filter(|word| word.starts_with("s3flow_"));
    names
        .map(|name| ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name))
        .collect()
}

#[tokio::test]
async fn what_operations_do_is_counted_under_the_documented_names() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let _guard = metrics::set_default_local_recorder(&recorder);

    let fixture = Fixture::new().await;
    let keys = fixture.put_numbered(10);
    fixture.server.inject(Fault::status(503, "SlowDown").operation(Operation::GetObject).times(1));
    fixture.server.inject(Fault::close_before_answer().operation(Operation::HeadObject).times(1));
    fixture.s3.get_many(&keys).await.unwrap();
    fixture.s3.put("new", vec![0_u8; 5000]).await.unwrap();
    fixture.s3.get("missing").await.unwrap_err();
    fixture.s3.info("new").await.unwrap();
    fixture.client.set_limits(Limits::default().download_bytes_per_second(100_000)).unwrap();
    fixture.s3.get("new").await.unwrap();

    let operations = |labels: &str| sum(&handle, &format!("s3flow_operation_duration_seconds_count{{{labels}}}"));
    assert_eq!(operations("operation=\"get\",outcome=\"ok\""), 11.0);
    assert_eq!(operations("operation=\"get\",outcome=\"NotFound\""), 1.0);
    assert_eq!(operations("operation=\"put\",outcome=\"ok\""), 1.0);
    let answers = |labels: &str| sum(&handle, &format!("s3flow_request_duration_seconds_count{{{labels}}}"));
    assert_eq!(answers("method=\"GET\",status=\"200\""), 11.0);
    assert_eq!(answers("method=\"GET\",status=\"503\""), 1.0);
    assert_eq!(answers("method=\"PUT\",status=\"200\""), 1.0);
    assert_eq!(sum(&handle, "s3flow_unanswered_requests_total{method=\"HEAD\"}"), 1.0);
    assert_eq!(sum(&handle, "s3flow_bytes_total{direction=\"sent\"}"), 5000.0);
    let received = sum(&handle, "s3flow_bytes_total{direction=\"received\"}");
    assert!(received >= 5020.0, "{received}");
    assert_eq!(sum(&handle, "s3flow_retries_total{cause=\"throttled\"}"), 1.0);
    assert_eq!(sum(&handle, "s3flow_retries_total{cause=\"transient\"}"), 1.0);
    assert_eq!(sum(&handle, "s3flow_requests_in_flight"), 0.0);
    assert_eq!(sum(&handle, "s3flow_wait_duration_seconds_count{for=\"retries\"}"), 2.0);
    let rendered = handle.render();
    assert!(!rendered.contains("bucket"), "what users store is not to be a label: {rendered}");

    let counted = names_in(&rendered);
    assert_eq!(counted, names_in(DOCUMENT));
    // Of the dashboard's, each must exist.
    assert!(names_in(DASHBOARD).is_subset(&counted), "{:?}", names_in(DASHBOARD));
}

#[test]
fn the_dashboard_is_one_that_grafana_reads() {
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(panels.len() >= 6);
    for panel in panels {
        assert!(panel["title"].is_string() && panel["gridPos"]["w"].is_u64(), "{panel}");
        let queries = panel["targets"].as_array().unwrap();
        assert!(queries.iter().all(|query| query["expr"].as_str().is_some_and(|expr| expr.contains("s3flow_"))));
    }
}
