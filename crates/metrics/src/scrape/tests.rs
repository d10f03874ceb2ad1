use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use springtide_machinery::clock::Clock;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::target::choose_targets;
use super::*;
use crate::config::{Config, ScrapeConfig};
use crate::discovery::{ADDRESS, Groups, TargetGroup};
use crate::promql::{Cancel, Query, Value};
use crate::relabel::LabelSet;
use crate::tsdb::Tsdb;

fn job(yaml: &str) -> ScrapeConfig {
    let text = format!("scrape_configs:\n- {}", yaml.trim().replace('\n', "\n  "));
    let config = Config::parse(&text, "test").expect(&text);
    config.scrape_configs.into_iter().next().expect("a job")
}

fn groups(targets: &[&str], labels: &[(&str, &str)]) -> Groups {
    let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let group = TargetGroup {
        source: "test".to_owned(),
        labels: labels.iter().map(pair).collect(),
        targets: targets
            .iter()
            .map(|target| LabelSet::from([pair(&(ADDRESS, target))]))
            .collect(),
    };
    Groups::from([("test".to_owned(), vec![group])])
}

#[test]
fn relabelling_makes_addresses_paths_and_labels_of_a_target() {
    let job = job("job_name: j
params: {a: [x y], b: ['1', '2']}
metrics_path: probe
relabel_configs:
- {source_labels: [__meta_env], target_label: env}
- {source_labels: [__address__], target_label: __param_a}
- {source_labels: [__meta_env], regex: drop, action: drop}");
    let chosen = choose_targets(&job, &groups(&["h:1", "h:1"], &[("__meta_env", "prod")]));
    let target = chosen.targets.values().next().expect("one target");
    assert_eq!(chosen.targets.len(), 1);
    assert_eq!(
        target.labels.to_string(),
        r#"{env="prod", instance="h:1", job="j"}"#
    );
    assert_eq!(target.url.to_string(), "http://h:1/probe?a=h%3A1&b=1&b=2");
    assert_eq!(target.discovered["__scheme__"], "http");
    let chosen = choose_targets(&job, &groups(&["h:1"], &[("__meta_env", "drop")]));
    assert_eq!((chosen.targets.len(), chosen.dropped.len()), (0, 1));
    let chosen = choose_targets(&job, &groups(&["h/x"], &[]));
    assert_eq!(chosen.faults.len(), 1);
}

/// Answers each request on one port with what it holds at that time.
#[derive(Clone)]
struct Exporter {
    answer: Arc<Mutex<Option<String>>>,
    address: String,
}

impl Exporter {
    async fn start(text: &str) -> Exporter {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        let answer = Arc::new(Mutex::new(Some(text.to_owned())));
        let shared = Arc::clone(&answer);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer_all(stream, Arc::clone(&shared)));
            }
        });
        Exporter { answer, address }
    }

    /// One that speaks TLS with a certificate of this name that it made itself; and the certificate.
    async fn start_tls(text: &str, name: &str) -> (Exporter, String) {
        let certified =
            rcgen::generate_simple_self_signed(vec![name.to_owned()]).expect("a certificate");
        let key = rustls::pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certified.cert.der().clone()], key.expect("a key"))
            .expect("a server");
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        let answer = Arc::new(Mutex::new(Some(text.to_owned())));
        let shared = Arc::clone(&answer);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A client that does not trust the certificate hangs up.
                if let Ok(stream) = acceptor.accept(stream).await {
                    tokio::spawn(answer_all(stream, Arc::clone(&shared)));
                }
            }
        });
        (Exporter { answer, address }, certified.cert.pem())
    }

    fn say(&self, text: Option<&str>) {
        *self.answer.lock() = text.map(str::to_owned);
    }
}

async fn answer_all<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    answer: Arc<Mutex<Option<String>>>,
) {
    let mut request = vec![0; 4096];
    while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
        let answer = answer.lock().clone();
        let response = match answer {
            Some(body) => format!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            ),
            None => "HTTP/1.1 503 no\r\ncontent-length: 0\r\n\r\n".to_owned(),
        };
        if stream.write_all(response.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn manager(tsdb: &Tsdb) -> ScrapeManager {
    ScrapeManager::new(ScrapeOptions {
        tsdb: tsdb.clone(),
        clock: Clock::system(),
        folder: std::env::temp_dir(),
        caches: None,
        seed: 7,
    })
}

/// Each series' labels and value that a query gives now.
fn ask(tsdb: &Tsdb, query: &str) -> Vec<String> {
    let query = Query::parse(query, crate::promql::Options::default()).expect(query);
    let now = Clock::system().now().as_millisecond();
    let answer = query
        .instant(tsdb, now, &Cancel::default())
        .expect("an answer");
    let Value::Vector(elements) = answer.value else {
        panic!("no vector");
    };
    elements
        .iter()
        .map(|element| format!("{} {}", element.labels, element.sample.value))
        .collect()
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait)
        .await
        .expect(what);
}

#[tokio::test]
async fn a_target_is_scraped_goes_stale_and_comes_back() {
    let exporter =
        Exporter::start("# TYPE a counter\n# HELP a what\na{job=\"own\"} 1\nb 2\nc 3\n").await;
    let tsdb = Tsdb::in_memory(crate::tsdb::Options::default());
    let manager = manager(&tsdb);
    let yaml = format!(
        "job_name: j\nscrape_interval: 100ms\nscrape_timeout: 100ms\nstatic_configs: [{{targets: ['{}']}}]\nmetric_relabel_configs: [{{source_labels: [__name__], regex: c, action: drop}}]",
        exporter.address
    );
    manager.apply(vec![job(&yaml)]).await.expect("applied");
    let labels = format!("instance=\"{}\", job=\"j\"", exporter.address);
    until("a sample", || !ask(&tsdb, "b").is_empty()).await;
    assert_eq!(
        ask(&tsdb, "a"),
        [format!(
            "{{__name__=\"a\", exported_job=\"own\", {labels}}} 1"
        )]
    );
    assert_eq!(
        ask(&tsdb, "up"),
        [format!("{{__name__=\"up\", {labels}}} 1")]
    );
    assert!(ask(&tsdb, "c").is_empty());
    assert_eq!(
        ask(
            &tsdb,
            "scrape_samples_scraped - scrape_samples_post_metric_relabeling"
        ),
        [format!("{{{labels}}} 1")]
    );
    let metadata = manager.metadata();
    assert_eq!(metadata[0].1[0].metadata.help, "what");
    exporter.say(Some("a 5\n"));
    until("b to go stale", || ask(&tsdb, "b").is_empty()).await;
    until("the new a", || {
        ask(&tsdb, "a") == [format!("{{__name__=\"a\", {labels}}} 5")]
    })
    .await;
    exporter.say(None);
    until("up to be 0", || {
        ask(&tsdb, "up") == [format!("{{__name__=\"up\", {labels}}} 0")]
    })
    .await;
    assert!(ask(&tsdb, "a").is_empty());
    assert_eq!(manager.targets()[0].health, Health::Down);
    assert!(manager.targets()[0].last_error.contains("503"));
    exporter.say(Some("a 6\nbroken{\n"));
    until("the fault", || {
        manager.targets()[0].last_error.contains("line 2")
    })
    .await;
    exporter.say(Some("a 7\n"));
    until("a again", || {
        ask(&tsdb, "a") == [format!("{{__name__=\"a\", {labels}}} 7")]
    })
    .await;
    manager.apply(Vec::new()).await.expect("applied");
    assert!(ask(&tsdb, "a").is_empty() && ask(&tsdb, "up").is_empty());
    assert!(manager.targets().is_empty());
}

#[tokio::test]
async fn limits_fail_the_scrape_by_name() {
    let exporter = Exporter::start("a{x=\"12345\"} 1\nb 2\n").await;
    let tsdb = Tsdb::in_memory(crate::tsdb::Options::default());
    let manager = manager(&tsdb);
    for (limit, reason) in [
        ("sample_limit: 1", "sample limit exceeded"),
        ("label_limit: 3", "label_limit exceeded"),
        (
            "label_value_length_limit: 4",
            "label_value_length_limit exceeded",
        ),
        (
            "label_name_length_limit: 3",
            "label_name_length_limit exceeded",
        ),
        ("body_size_limit: 5B", "body size limit exceeded"),
    ] {
        let yaml = format!(
            "job_name: j\nscrape_interval: 50ms\nscrape_timeout: 50ms\nstatic_configs: [{{targets: ['{}']}}]\n{limit}",
            exporter.address
        );
        manager.apply(vec![job(&yaml)]).await.expect("applied");
        until(limit, || {
            let targets = manager.targets();
            targets
                .iter()
                .any(|target| target.last_error.contains(reason))
        })
        .await;
        assert!(ask(&tsdb, "b").is_empty(), "{limit}");
    }
    manager.stop().await;
}

#[tokio::test]
async fn targets_over_the_limit_are_told_of_and_come_back_below_it() {
    let exporter = Exporter::start("a 1\n").await;
    let tsdb = Tsdb::in_memory(crate::tsdb::Options::default());
    let manager = manager(&tsdb);
    let yaml = |limit: u64| {
        let port = exporter.address.rsplit(':').next().expect("a port");
        format!(
            "job_name: j\nscrape_interval: 50ms\nscrape_timeout: 50ms\nstatic_configs: [{{targets: ['127.0.0.1:{port}', 'localhost:{port}']}}]\ntarget_limit: {limit}"
        )
    };
    manager.apply(vec![job(&yaml(1))]).await.expect("applied");
    until("both are down", || ask(&tsdb, "up == 0").len() == 2).await;
    let targets = manager.targets();
    assert_eq!(targets.len(), 2);
    for target in targets {
        let reason = "target_limit exceeded (number of targets: 2, limit: 1)";
        assert_eq!((target.health, &*target.last_error), (Health::Down, reason));
    }
    assert!(ask(&tsdb, "a").is_empty());
    manager.apply(vec![job(&yaml(2))]).await.expect("applied");
    until("both are up", || ask(&tsdb, "up == 1").len() == 2).await;
    assert_eq!(ask(&tsdb, "a").len(), 2);
    manager.apply(vec![job(&yaml(1))]).await.expect("applied");
    until("both are down again", || ask(&tsdb, "up == 0").len() == 2).await;
    assert!(ask(&tsdb, "a").is_empty());
    manager.stop().await;
}

#[tokio::test]
async fn what_was_read_before_a_fault_is_counted_and_a_limit_ends_no_count() {
    let exporter = Exporter::start("a 1\nb 2\nc 3\n").await;
    let tsdb = Tsdb::in_memory(crate::tsdb::Options::default());
    let manager = manager(&tsdb);
    let yaml = format!(
        "job_name: j\nscrape_interval: 50ms\nscrape_timeout: 50ms\nstatic_configs: [{{targets: ['{}']}}]\nsample_limit: 1",
        exporter.address
    );
    manager.apply(vec![job(&yaml)]).await.expect("applied");
    let number = |metric: &str| {
        let found = ask(&tsdb, metric);
        found.first().map(|line| {
            let value = line.rsplit(' ').next().expect("a value");
            value.to_owned()
        })
    };
    until("a scrape", || number("up").is_some()).await;
    assert_eq!(number("up").as_deref(), Some("0"));
    assert_eq!(number("scrape_samples_scraped").as_deref(), Some("3"));
    let after = number("scrape_samples_post_metric_relabeling");
    assert_eq!(after.as_deref(), Some("3"));
    exporter.say(Some("a 1\n# EOF\nb 2\nc x\nd 4\n"));
    until("what was read before the fault", || {
        number("scrape_samples_scraped").as_deref() == Some("2")
    })
    .await;
    assert!(ask(&tsdb, "a").is_empty());
    manager.stop().await;
}

#[tokio::test]
async fn honoured_labels_and_times_are_kept() {
    let time = Clock::system().now().as_millisecond() - 5_000;
    let exporter = Exporter::start(&format!("a{{job=\"own\",instance=\"\"}} 1 {time}\n")).await;
    let tsdb = Tsdb::in_memory(crate::tsdb::Options::default());
    let manager = manager(&tsdb);
    let yaml = format!(
        "job_name: j\nhonor_labels: true\nscrape_interval: 50ms\nscrape_timeout: 50ms\nstatic_configs: [{{targets: ['{}']}}]",
        exporter.address
    );
    manager.apply(vec![job(&yaml)]).await.expect("applied");
    until("a sample", || !ask(&tsdb, "a").is_empty()).await;
    assert_eq!(ask(&tsdb, "a"), [r#"{__name__="a", job="own"} 1"#]);
    let expected = format!("{}", time as f64 / 1000.0);
    assert!(ask(&tsdb, "timestamp(a)")[0].ends_with(&expected));
    manager.stop().await;
}

#[tokio::test]
async fn a_target_that_speaks_tls_is_scraped_when_its_certificate_is_trusted() {
    let (exporter, certificate) = Exporter::start_tls("a 1\n", "metrics.example").await;
    let (_, foreign) = Exporter::start_tls("a 1\n", "metrics.example").await;
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    let (trusted, foreign) = (
        write("ca.pem", &certificate),
        write("foreign.pem", &foreign),
    );
    let yaml = |tls: &str| {
        format!(
            "job_name: j\nscheme: https\nscrape_interval: 1s\nscrape_timeout: 1s\nstatic_configs: [{{targets: ['{}']}}]\ntls_config: {{{tls}}}",
            exporter.address
        )
    };
    for (tls, fault) in [
        (
            format!("ca_file: {trusted}, server_name: metrics.example"),
            None,
        ),
        ("insecure_skip_verify: true".to_owned(), None),
        // The target's name is its address, which the certificate is not for.
        (format!("ca_file: {trusted}"), Some("not valid for name")),
        (
            format!("ca_file: {trusted}, server_name: other.example"),
            Some("not valid for name"),
        ),
        (
            format!("ca_file: {foreign}, server_name: metrics.example"),
            Some("invalid peer certificate"),
        ),
        (
            "server_name: metrics.example".to_owned(),
            Some("invalid peer certificate"),
        ),
    ] {
        let tsdb = Tsdb::in_memory(crate::tsdb::Options::default());
        let manager = manager(&tsdb);
        manager
            .apply(vec![job(&yaml(&tls))])
            .await
            .expect("applied");
        until(&tls, || match fault {
            None => !ask(&tsdb, "a == 1").is_empty(),
            Some(fault) => {
                let targets = manager.targets();
                let failed = targets.iter();
                failed
                    .last()
                    .is_some_and(|target| target.last_error.contains(fault))
            }
        })
        .await;
        assert_eq!(ask(&tsdb, "a").is_empty(), fault.is_some(), "{tls}");
        manager.stop().await;
    }
    // A file that is not there is said before anything is scraped.
    let manager = manager(&Tsdb::in_memory(crate::tsdb::Options::default()));
    let refused = manager
        .apply(vec![job(&yaml("ca_file: /nosuch.pem"))])
        .await;
    assert!(
        refused.is_err_and(|faults| faults[0].contains("/nosuch.pem")),
        "the file is named"
    );
}
