//! The Alertmanager through real sockets: a webhook, a mail server, and the API.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use parking_lot::Mutex;
use serde_json::{Value, json};
use springtide_machinery::clock::Clock;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

/// A server that keeps the JSON it is sent and answers with a status.
async fn webhook(status: Arc<Mutex<StatusCode>>) -> (String, tokio::sync::mpsc::Receiver<Value>) {
    let (send, receive) = tokio::sync::mpsc::channel(100);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let app = axum::Router::new().fallback(move |body: axum::body::Bytes| {
        let (send, status) = (send.clone(), status.clone());
        async move {
            let _ = send
                .send(serde_json::from_slice(&body).expect("JSON"))
                .await;
            *status.lock()
        }
    });
    tokio::spawn(async move { axum::serve(listener, app).await });
    (format!("http://{address}/"), receive)
}

async fn next(receive: &mut tokio::sync::mpsc::Receiver<Value>) -> Value {
    let received = tokio::time::timeout(PATIENCE, receive.recv()).await;
    received
        .expect("a message in time")
        .expect("the server runs")
}

fn open(text: &str, folder: Option<&Path>) -> Alertmanager {
    let configuration = AlertingConfiguration::parse("f", text, Path::new("")).expect("valid");
    let options = AlertmanagerOptions {
        folder: folder.map(Path::to_owned),
        external_url: "http://am.example".to_owned(),
        ..AlertmanagerOptions::default()
    };
    Alertmanager::open(Arc::new(configuration), options, Clock::system()).expect("opens")
}

fn alert(name: &str, resolved: bool) -> PostedAlert {
    let now = Clock::system().now();
    let hours = if resolved { 0 } else { 1 };
    PostedAlert {
        labels: LabelMap::from([
            ("alertname".to_owned(), name.to_owned()),
            ("severity".to_owned(), "page".to_owned()),
        ]),
        annotations: LabelMap::from([("summary".to_owned(), "it <is> down".to_owned())]),
        starts_at: now.checked_sub(jiff::SignedDuration::from_hours(1)).ok(),
        ends_at: now
            .checked_add(jiff::SignedDuration::from_hours(hours))
            .ok(),
        generator_url: "http://prom/graph".to_owned(),
    }
}

fn config(url: &str) -> String {
    format!(
        "route: {{receiver: web, group_by: [alertname], group_wait: 10ms, group_interval: 200ms}}\nreceivers: [{{name: web, webhook_configs: [{{url: \"{url}\"}}]}}]\n"
    )
}

#[tokio::test]
async fn a_webhook_hears_of_an_alert_and_of_its_end_and_again_after_it_refused() {
    let status = Arc::new(Mutex::new(StatusCode::SERVICE_UNAVAILABLE));
    let (url, mut heard) = webhook(status.clone()).await;
    let folder = tempfile::tempdir().expect("a folder");
    let stop = CancellationToken::new();
    let alertmanager = open(&config(&url), Some(folder.path()));
    let task = tokio::spawn(alertmanager.clone().run(stop.clone()));
    alertmanager
        .post(vec![alert("Down", false)])
        .expect("taken");
    let first = next(&mut heard).await;
    // The program ends before the webhook took the message.
    stop.cancel();
    task.await.expect("ended");
    drop(alertmanager);
    *status.lock() = StatusCode::OK;
    let stop = CancellationToken::new();
    let alertmanager = open(&config(&url), Some(folder.path()));
    let task = tokio::spawn(alertmanager.clone().run(stop.clone()));
    let again = next(&mut heard).await;
    assert_eq!(again, first);
    let expected = json!({
        "receiver": "web", "status": "firing", "version": "4",
        "groupKey": "{}:{alertname=\"Down\"}",
        "groupLabels": {"alertname": "Down"},
        "commonLabels": {"alertname": "Down", "severity": "page"},
        "commonAnnotations": {"summary": "it <is> down"},
        "externalURL": "http://am.example", "truncatedAlerts": 0,
    });
    for (name, value) in expected.as_object().expect("an object") {
        assert_eq!(again[name], *value, "{name}");
    }
    assert_eq!(again["alerts"][0]["status"], "firing");
    assert_eq!(again["alerts"][0]["endsAt"], "0001-01-01T00:00:00Z");
    assert_eq!(again["alerts"][0]["generatorURL"], "http://prom/graph");
    // What was told is kept once the server's answer is there.
    let kept = async {
        while alertmanager.messages().0 == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, kept)
        .await
        .expect("kept in time");
    alertmanager.post(vec![alert("Down", true)]).expect("taken");
    let end = next(&mut heard).await;
    assert_eq!(end["status"], "resolved");
    stop.cancel();
    task.await.expect("ended");
}

#[tokio::test]
async fn mail_and_slack_say_what_their_templates_make_of_the_group() {
    let (url, mut slack) = webhook(Arc::new(Mutex::new(StatusCode::OK))).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let smarthost = listener.local_addr().expect("bound");
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a client");
        let mut stream = BufReader::new(stream);
        let mut lines = Vec::new();
        let mut in_data = false;
        stream.write_all(b"220 hello\r\n").await.expect("written");
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.expect("read") == 0 {
                return lines;
            }
            let line = line.trim_end().to_owned();
            let answer = match line.as_str() {
                "." => {
                    in_data = false;
                    "250 taken\r\n"
                }
                _ if in_data => "",
                "DATA" => {
                    in_data = true;
                    "354 go on\r\n"
                }
                line if line.starts_with("EHLO") => "250-hello\r\n250 AUTH LOGIN PLAIN\r\n",
                line if line.starts_with("AUTH") => "235 welcome\r\n",
                "QUIT" => "221 bye\r\n",
                _ => "250 ok\r\n",
            };
            stream.write_all(answer.as_bytes()).await.expect("written");
            let quits = line == "QUIT";
            lines.push(line);
            if quits {
                return lines;
            }
        }
    });
    let text = format!(
        r##"
global: {{smtp_smarthost: "{smarthost}", smtp_from: "Tide <tide@x.example>", smtp_require_tls: false, smtp_auth_username: u, smtp_auth_password: p}}
route: {{receiver: all, group_by: [alertname], group_wait: 10ms}}
receivers:
- name: all
  email_configs: [{{to: "ops@x.example, Du <du@x.example>", text: "{{{{ range .Alerts }}}}{{{{ .Annotations.summary }}}}{{{{ end }}}}"}}]
  slack_configs: [{{api_url: "{url}", channel: '#ops', text: '{{{{ .CommonAnnotations.summary }}}} {{{{ (index .Alerts 0).Labels.severity | toUpper }}}}', fields: [{{title: n, value: '{{{{ len .Alerts }}}}'}}]}}]
"##
    );
    let stop = CancellationToken::new();
    let alertmanager = open(&text, None);
    let task = tokio::spawn(alertmanager.clone().run(stop.clone()));
    alertmanager
        .post(vec![alert("Down", false)])
        .expect("taken");
    let message = next(&mut slack).await;
    assert_eq!(message["channel"], "#ops");
    let attachment = &message["attachments"][0];
    assert_eq!(attachment["title"], "[FIRING:1] Down (page)");
    assert_eq!(attachment["text"], "it <is> down PAGE");
    assert_eq!(attachment["color"], "danger");
    assert_eq!(attachment["fields"][0]["value"], "1");
    let mail = tokio::time::timeout(PATIENCE, server)
        .await
        .expect("in time")
        .expect("served");
    let has = |line: &str| assert!(mail.iter().any(|known| known == line), "{line}: {mail:#?}");
    has("MAIL FROM:<tide@x.example>");
    has("RCPT TO:<ops@x.example>");
    has("RCPT TO:<du@x.example>");
    has("AUTH PLAIN AHUAcA==");
    has("Subject: [FIRING:1] Down (page)");
    has(&base64::engine::general_purpose::STANDARD.encode("it <is> down"));
    stop.cancel();
    task.await.expect("ended");
}

async fn ask(
    app: &axum::Router,
    method: &str,
    path: &str,
    body: Option<Value>,
) -> (StatusCode, Value) {
    let body = body.map_or_else(String::new, |body| body.to_string());
    let request = Request::builder()
        .method(method)
        .uri(path)
        .body(axum::body::Body::from(body))
        .expect("a request");
    let response = app.clone().oneshot(request).await.expect("infallible");
    let status = response.status();
    let bytes = response
        .into_body()
        .collect()
        .await
        .expect("a body")
        .to_bytes();
    (
        status,
        serde_json::from_slice(&bytes).unwrap_or(Value::Null),
    )
}

#[tokio::test]
async fn the_api_takes_and_shows_alerts_and_silences() {
    let alertmanager = open(&config("http://127.0.0.1:9/secret"), None);
    let app = api::router(alertmanager);
    let (status, answer) = ask(&app, "GET", "/api/v2/status", None).await;
    assert_eq!(status, StatusCode::OK);
    let shown = answer["config"]["original"].as_str().expect("a text");
    assert!(!shown.contains("9/secret"), "{shown}");
    let (_, answer) = ask(&app, "GET", "/api/v2/receivers", None).await;
    assert_eq!(answer, json!([{"name": "web"}]));
    let posted = json!([{"labels": {"alertname": "A", "x": "1"}}, {"labels": {"alertname": "B"}}]);
    let (status, _) = ask(&app, "POST", "/api/v2/alerts", Some(posted)).await;
    assert_eq!(status, StatusCode::OK);
    let (status, answer) = ask(
        &app,
        "POST",
        "/api/v2/alerts",
        Some(json!([{"labels": {}}])),
    )
    .await;
    assert_eq!(
        (status, answer),
        (
            StatusCode::BAD_REQUEST,
            json!("at least one label pair required")
        )
    );
    let (_, answer) = ask(&app, "GET", "/api/v2/alerts?filter=x%3D%221%22", None).await;
    assert_eq!(answer.as_array().map(Vec::len), Some(1));
    assert_eq!(answer[0]["status"]["state"], "active");
    assert_eq!(answer[0]["receivers"], json!([{"name": "web"}]));
    let (_, answer) = ask(&app, "GET", "/api/v2/alerts/groups", None).await;
    assert_eq!(answer.as_array().map(Vec::len), Some(2));
    let silence = json!({
        "matchers": [{"name": "alertname", "value": "A", "isRegex": false}],
        "startsAt": "2020-01-01T00:00:00Z", "endsAt": "2099-01-01T00:00:00Z",
        "createdBy": "me", "comment": "quiet",
    });
    let (status, answer) = ask(&app, "POST", "/api/v2/silences", Some(silence)).await;
    assert_eq!(status, StatusCode::OK);
    let id = answer["silenceID"].as_str().expect("a name").to_owned();
    let (_, answer) = ask(&app, "GET", "/api/v2/alerts?silenced=false", None).await;
    assert_eq!(answer[0]["labels"]["alertname"], "B");
    let (_, answer) = ask(&app, "GET", &format!("/api/v2/silence/{id}"), None).await;
    assert_eq!(
        (&answer["status"]["state"], &answer["comment"]),
        (&json!("active"), &json!("quiet"))
    );
    let (status, _) = ask(&app, "DELETE", &format!("/api/v2/silence/{id}"), None).await;
    assert_eq!(status, StatusCode::OK);
    let (_, answer) = ask(&app, "GET", "/api/v2/silences?filter=alertname%3DA", None).await;
    assert_eq!(answer[0]["status"]["state"], "expired");
    let (status, _) = ask(&app, "DELETE", "/api/v2/silence/nosuch", None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (status, _) = ask(&app, "GET", "/api/v2/alerts?active=maybe", None).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn alerts_of_rules_reach_an_alertmanager_elsewhere() {
    use crate::rules::{Notice, NoticeSink as _};

    let (url, mut heard) = webhook(Arc::new(Mutex::new(StatusCode::OK))).await;
    let address = url.trim_start_matches("http://").trim_end_matches('/');
    let text = format!(
        "alert_relabel_configs: [{{action: labeldrop, regex: gone}}]\nalertmanagers: [{{path_prefix: /am, static_configs: [{{targets: ['{address}']}}]}}]\n"
    );
    let config = serde_saphyr::from_str(&text).expect("valid");
    let labels = LabelMap::from([("cluster".to_owned(), "c".to_owned())]);
    let external = ExternalAlertmanagers::new(&config, labels, Path::new("")).expect("usable");
    assert_eq!(
        external.alertmanagers().active,
        [format!("http://{address}/am/api/v2/alerts")]
    );
    let stop = CancellationToken::new();
    let task = tokio::spawn(external.clone().run(stop.clone()));
    external.take(vec![Notice {
        labels: LabelMap::from([
            ("alertname".to_owned(), "A".to_owned()),
            ("gone".to_owned(), "x".to_owned()),
        ]),
        annotations: LabelMap::new(),
        starts_at: 0,
        ends_at: 1000,
        generator_url: String::new(),
    }]);
    let posted = next(&mut heard).await;
    assert_eq!(
        posted[0]["labels"],
        json!({"alertname": "A", "cluster": "c"})
    );
    assert_eq!(posted[0]["endsAt"], "1970-01-01T00:00:01Z");
    stop.cancel();
    task.await.expect("ended");
}
