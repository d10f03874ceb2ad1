//! Fields that Prometheus and Alertmanager know and this program does not have. They are refused by their names, so
//! that nobody takes them for misspelt.

/// A refused field, and what to do instead.
const REFUSED: [(&str, &str); 18] = [
    (
        "remote_read",
        "queries are answered from this database alone; remove the section",
    ),
    ("tracing", "remove the section"),
    (
        "otlp",
        "send OpenMetrics or remote write; remove the section",
    ),
    ("exemplars", "exemplars are not stored; remove the section"),
    ("query_log_file", "remove the field"),
    (
        "scrape_failure_log_file",
        "what failed is in /api/v1/targets and in the log; remove the field",
    ),
    ("oauth2", FRESH_CREDENTIALS),
    ("azuread", FRESH_CREDENTIALS),
    ("google_iam", FRESH_CREDENTIALS),
    ("sigv4", "send through a proxy that signs the requests"),
    ("proxy_url", NO_PROXY),
    ("no_proxy", NO_PROXY),
    ("proxy_from_environment", NO_PROXY),
    ("proxy_connect_header", NO_PROXY),
    ("native_histogram_bucket_limit", CLASSIC),
    ("native_histogram_min_bucket_factor", CLASSIC),
    ("convert_classic_histograms_to_nhcb", CLASSIC),
    ("scrape_native_histograms", CLASSIC),
];

const FRESH_CREDENTIALS: &str =
    "use authorization with a credentials_file that another program keeps fresh";
const NO_PROXY: &str = "servers are reached directly; remove the field";
const CLASSIC: &str = "native histograms are not stored, classic ones are; remove the field";
const DISCOVERIES: &str =
    "use static_configs, or in a job file_sd_configs, http_sd_configs or kubernetes_sd_configs";

/// What the YAML reader says of a configuration; of a field that is refused, what to do instead.
pub(crate) fn explained(fault: &str) -> String {
    let explained = (|| {
        let (before, rest) = fault.split_once("unknown field `")?;
        let (field, rest) = rest.split_once('`')?;
        let refused = REFUSED.iter().find(|(refused, _)| *refused == field);
        let instead = match refused {
            Some((_, instead)) => instead,
            None if field.ends_with("_sd_configs") => DISCOVERIES,
            None => return None,
        };
        let place = rest.rfind(" at line ").map_or("", |at| &rest[at..]);
        Some(format!(
            "{before}{field} is not supported: {instead}{place}"
        ))
    })();
    explained.unwrap_or_else(|| fault.to_owned())
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    fn fault(text: &str) -> String {
        let refused = Config::parse(text, "prometheus.yml").expect_err(text);
        refused.to_string()
    }

    #[test]
    fn a_refused_field_is_named_with_its_place_and_never_offered() {
        for (text, said) in [
            (
                "remote_read: []",
                "remote_read is not supported: queries are answered",
            ),
            (
                "global: {query_log_file: x}",
                "query_log_file is not supported: remove the field",
            ),
            (
                "storage: {exemplars: {}}",
                "exemplars is not supported: exemplars are not stored",
            ),
            (
                "scrape_configs: [{job_name: a, oauth2: {}}]",
                "oauth2 is not supported: use authorization",
            ),
            (
                "scrape_configs: [{job_name: a, scrape_native_histograms: true}]",
                "scrape_native_histograms is not supported: native histograms are not stored",
            ),
            (
                "scrape_configs: [{job_name: a, hetzner_sd_configs: []}]",
                "hetzner_sd_configs is not supported: use static_configs",
            ),
            (
                "alerting: {alertmanagers: [{dns_sd_configs: []}]}",
                "dns_sd_configs is not supported: use static_configs",
            ),
            (
                "alerting: {alertmanagers: [{proxy_url: x}]}",
                "proxy_url is not supported: servers are reached directly",
            ),
            (
                "remote_write: [{url: 'http://x/', sigv4: {}}]",
                "sigv4 is not supported",
            ),
        ] {
            let fault = fault(text);
            assert!(fault.contains(said), "{text}: {fault}");
            assert!(fault.contains("line 1, column"), "{text}: {fault}");
            assert!(!fault.contains("expected"), "{text}: {fault}");
        }
        for text in [
            "nosuch: 1",
            "global: {nosuch: 1}",
            "storage: {nosuch: 1}",
            "scrape_configs: [{job_name: a, nosuch: 1}]",
            "alerting: {alertmanagers: [{nosuch: 1}]}",
            "remote_write: [{url: 'http://x/', nosuch: 1}]",
        ] {
            let fault = fault(text);
            assert!(fault.contains("unknown field `nosuch`"), "{text}: {fault}");
            for (refused, _) in super::REFUSED {
                let offers = |name: &str| name == refused;
                let mut words =
                    fault.split(|character: char| !character.is_alphanumeric() && character != '_');
                assert!(!words.any(offers), "{text}: {fault}");
            }
            assert!(!fault.contains("dns_sd_configs"), "{text}: {fault}");
        }
    }

    #[test]
    fn alertmanagers_file_refuses_in_the_same_words() {
        let text = "route: {receiver: a}\nreceivers: [{name: a, webhook_configs: [{url: 'http://x/', http_config: {oauth2: {}}}]}]";
        let read = crate::alerting::AlertingConfiguration::parse("am.yml", text, ".".as_ref());
        let fault = read.expect_err("oauth2 is refused").to_string();
        assert!(fault.contains("oauth2 is not supported: use"), "{fault}");
    }
}
