//! TLS on the page: nothing, where none is spoken.

use super::TlsSides;
use super::member::{Page, counter, gauge};
use prometheus::proto::{LabelPair, MetricFamily, MetricType};
use std::collections::BTreeMap;

pub(super) fn families(sides: &TlsSides) -> Vec<MetricFamily> {
    let mut page = Page::default();
    if sides.is_empty() {
        return page.families;
    }
    let reports = sides.reports();
    // Several sides may name one file.
    let expiries: BTreeMap<String, i64> = reports
        .iter()
        .flat_map(|report| &report.expiries)
        .map(|expiry| (expiry.path.display().to_string(), expiry.not_after))
        .collect();
    let ends = expiries.into_iter().map(|(file, not_after)| {
        let ends = u64::try_from(not_after).unwrap_or(0);
        gauge(ends, vec![label("file", &file)])
    });
    page.family(
        (
            "detcd_tls_certificate_expiry_seconds",
            "The Unix time at which the first certificate of the file ends.",
        ),
        MetricType::GAUGE,
        ends.collect(),
    );
    page.counter(
        "detcd_tls_reload_failures_total",
        "Changed files of TLS that could not be used.",
        reports.iter().map(|report| report.failures).sum(),
    );
    let refused = sides.refused().into_iter();
    let refused: Vec<_> = refused
        .map(|(port, refused)| counter(refused, vec![label("port", port)]))
        .collect();
    if !refused.is_empty() {
        page.family(
            (
                "detcd_tls_handshakes_failed_total",
                "TLS handshakes that came to nothing.",
            ),
            MetricType::COUNTER,
            refused,
        );
    }
    page.families
}

fn label(name: &str, value: &str) -> LabelPair {
    let mut label = LabelPair::default();
    label.set_name(name.to_owned());
    label.set_value(value.to_owned());
    label
}
