//! A worker over real sockets of the loopback, between a caller and small servers.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use springtide_client::ObjectKey;
use springtide_machinery::entropy::Entropy;
use springtide_machinery::instruments::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};

use crate::routes::{EndpointRoute, PortId, PortRoute, Protocol, Side};
use crate::table::Table;
use crate::telemetry::Telemetry;
use crate::worker::{HostDialer, Leads, Order, Shared, run};

const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// A worker that balances one Service, as the real one does but in the test's own namespace.
struct Bench {
    table: Arc<Table>,
    address: SocketAddr,
    protocol: Protocol,
    registry: Registry,
    _orders: mpsc::UnboundedSender<Order>,
}

impl Bench {
    async fn start(protocol: Protocol) -> Self {
        let table = Arc::new(Table::default());
        let registry = Registry::new();
        let listener = std::net::TcpListener::bind((LOCAL, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (dns, _) = mpsc::channel(1);
        let shared = Shared {
            table: Arc::clone(&table),
            host_dialer: HostDialer::start(),
            telemetry: Telemetry::new(&registry, Arc::default(), "cluster.local"),
            dns: (SocketAddr::new(LOCAL, 53), dns),
        };
        let (orders, received) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            run(&runtime, shared, Entropy::from_seed(3), received);
        });
        let order = Order::Accept {
            name: "test".to_owned(),
            socket: listener,
            leads: Leads::To(port()),
        };
        orders.send(order).unwrap();
        let bench = Self {
            table,
            address,
            protocol,
            registry,
            _orders: orders,
        };
        bench.set(&[]);
        bench
    }

    fn set(&self, servers: &[&Server]) {
        let addresses: Vec<_> = servers
            .iter()
            .map(|server| (server.address, server.name))
            .collect();
        self.set_addresses(&addresses);
    }

    fn set_addresses(&self, servers: &[(SocketAddr, &str)]) {
        let route = PortRoute {
            id: port(),
            addresses: Vec::new(),
            node_port: None,
            load_balancer: false,
            protocol: self.protocol,
            affinity: None,
            endpoints: servers
                .iter()
                .map(|(address, name)| EndpointRoute {
                    address: *address,
                    pod: Some((*name).to_owned()),
                    side: Side::Mesh,
                })
                .collect(),
        };
        self.table.update(vec![route], LOCAL);
    }
}

fn port() -> PortId {
    PortId {
        service: ObjectKey::new("shop", "api"),
        port: 80,
    }
}

/// Answers with its name; a request for `/slow` first waits until it is let go.
struct Server {
    name: &'static str,
    address: SocketAddr,
    served: Arc<AtomicUsize>,
    slow_arrived: Arc<Notify>,
    let_go: Arc<Notify>,
}

impl Server {
    async fn start(name: &'static str) -> Self {
        let listener = TcpListener::bind((LOCAL, 0)).await.unwrap();
        let server = Self {
            name,
            address: listener.local_addr().unwrap(),
            served: Arc::default(),
            slow_arrived: Arc::default(),
            let_go: Arc::default(),
        };
        let (served, arrived, let_go) = (
            Arc::clone(&server.served),
            Arc::clone(&server.slow_arrived),
            Arc::clone(&server.let_go),
        );
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (served, arrived, let_go) = (
                    Arc::clone(&served),
                    Arc::clone(&arrived),
                    Arc::clone(&let_go),
                );
                let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                    let (served, arrived, let_go) = (
                        Arc::clone(&served),
                        Arc::clone(&arrived),
                        Arc::clone(&let_go),
                    );
                    async move {
                        if request.uri().path() == "/slow" {
                            arrived.notify_one();
                            let_go.notified().await;
                        }
                        let body = request.into_body().collect().await.unwrap().to_bytes();
                        served.fetch_add(1, Ordering::Relaxed);
                        let text = format!("{name}{}", String::from_utf8_lossy(&body));
                        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(text))))
                    }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        server
    }

    fn served(&self) -> usize {
        self.served.load(Ordering::Relaxed)
    }
}

type Sender = hyper::client::conn::http1::SendRequest<Full<Bytes>>;

/// One keep-alive connection to the Service.
async fn caller(address: SocketAddr) -> Sender {
    let stream = TcpStream::connect(address).await.unwrap();
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    sender
}

async fn get(sender: &mut Sender, path: &str) -> (u16, String) {
    send(sender, "GET", path, "").await
}

async fn send(sender: &mut Sender, method: &str, path: &str, body: &str) -> (u16, String) {
    sender.ready().await.unwrap();
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "api")
        .body(Full::new(Bytes::from(body.to_owned())))
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

#[tokio::test]
async fn a_replica_added_under_keep_alive_load_gets_its_share_at_once() {
    let bench = Bench::start(Protocol::Http).await;
    let (a, b) = (Server::start("a").await, Server::start("b").await);
    bench.set(&[&a]);
    let mut caller = caller(bench.address).await;
    for _ in 0..20 {
        assert_eq!(get(&mut caller, "/").await, (200, "a".to_owned()));
    }
    bench.set(&[&a, &b]);
    for _ in 0..200 {
        assert_eq!(get(&mut caller, "/").await.0, 200);
    }
    assert!(
        (70..=130).contains(&b.served()),
        "{} of 200 over the same connection",
        b.served()
    );
}

#[tokio::test]
async fn a_terminating_endpoint_gets_no_new_requests_and_finishes_those_it_has() {
    let bench = Bench::start(Protocol::Http).await;
    let (a, b) = (Server::start("a").await, Server::start("b").await);
    bench.set(&[&a]);
    let address = bench.address;
    let slow = tokio::spawn(async move { get(&mut caller(address).await, "/slow").await });
    a.slow_arrived.notified().await;
    bench.set(&[&a, &b]);
    bench.table.depart("a");
    let mut caller = caller(address).await;
    for _ in 0..50 {
        assert_eq!(get(&mut caller, "/").await, (200, "b".to_owned()));
    }
    a.let_go.notify_one();
    assert_eq!(slow.await.unwrap(), (200, "a".to_owned()));
}

#[tokio::test]
async fn a_request_is_tried_elsewhere_when_its_endpoint_is_not_there() {
    let bench = Bench::start(Protocol::Http).await;
    let alive = Server::start("alive").await;
    let dead = TcpListener::bind((LOCAL, 0))
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    bench.set_addresses(&[(alive.address, "alive"), (dead, "dead")]);
    let mut caller = caller(bench.address).await;
    for index in 0..50 {
        let body = format!("-{index}");
        let answer = send(&mut caller, "POST", "/", &body).await;
        assert_eq!(
            answer,
            (200, format!("alive{body}")),
            "an unsent POST may be sent again"
        );
    }
}

#[tokio::test]
async fn a_service_without_endpoints_says_so() {
    let bench = Bench::start(Protocol::Http).await;
    let (status, text) = get(&mut caller(bench.address).await, "/").await;
    assert_eq!(
        (status, text.trim()),
        (503, "service shop/api has no ready endpoint")
    );
}

#[tokio::test]
async fn bodies_of_any_size_pass_both_ways() {
    let bench = Bench::start(Protocol::Http).await;
    let a = Server::start("a").await;
    bench.set(&[&a]);
    let body = "x".repeat(3_000_000);
    let (status, answer) = send(&mut caller(bench.address).await, "POST", "/", &body).await;
    assert_eq!((status, answer.len()), (200, body.len() + 1));
}

#[tokio::test]
async fn what_speaks_no_http_is_handed_on_as_it_is() {
    let bench = Bench::start(Protocol::Detect).await;
    let listener = TcpListener::bind((LOCAL, 0)).await.unwrap();
    bench.set_addresses(&[(listener.local_addr().unwrap(), "echo")]);
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut seen = [0; 9];
        stream.read_exact(&mut seen).await.unwrap();
        stream.write_all(&seen).await.unwrap();
    });
    let mut stream = TcpStream::connect(bench.address).await.unwrap();
    stream.write_all(b"*1\r\n$4\r\nP").await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, b"*1\r\n$4\r\nP");
}

#[tokio::test]
async fn http_is_recognised_by_its_first_bytes() {
    let bench = Bench::start(Protocol::Detect).await;
    let (a, b) = (Server::start("a").await, Server::start("b").await);
    bench.set(&[&a, &b]);
    let mut caller = caller(bench.address).await;
    for _ in 0..100 {
        assert_eq!(get(&mut caller, "/").await.0, 200);
    }
    assert!(
        a.served() > 20 && b.served() > 20,
        "one connection, both servers"
    );
}

#[tokio::test]
async fn a_switch_of_protocol_passes_and_then_carries_anything() {
    let bench = Bench::start(Protocol::Http).await;
    let listener = TcpListener::bind((LOCAL, 0)).await.unwrap();
    bench.set_addresses(&[(listener.local_addr().unwrap(), "ws")]);
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await.unwrap());
        }
        let request = String::from_utf8(request).unwrap().to_lowercase();
        assert!(
            request.contains("upgrade: echo") && request.contains("connection: upgrade"),
            "{request}"
        );
        stream
            .write_all(
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n",
            )
            .await
            .unwrap();
        let mut word = [0; 5];
        stream.read_exact(&mut word).await.unwrap();
        stream.write_all(&word).await.unwrap();
    });
    let mut stream = TcpStream::connect(bench.address).await.unwrap();
    stream
        .write_all(b"GET /ws HTTP/1.1\r\nHost: api\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
        .await
        .unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    assert!(
        head.starts_with(b"HTTP/1.1 101"),
        "{}",
        String::from_utf8_lossy(&head)
    );
    stream.write_all(b"hello").await.unwrap();
    let mut word = [0; 5];
    tokio::time::timeout(Duration::from_secs(10), stream.read_exact(&mut word))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&word, b"hello");
}

#[tokio::test]
async fn every_request_and_connection_is_counted_with_its_bytes() {
    let bench = Bench::start(Protocol::Http).await;
    let a = Server::start("a").await;
    bench.set(&[&a]);
    let mut caller = caller(bench.address).await;
    assert_eq!(send(&mut caller, "POST", "/", "-body").await.0, 200);
    assert_eq!(get(&mut caller, "/").await.0, 200);
    bench.set(&[]);
    assert_eq!(get(&mut caller, "/").await.0, 503);
    // An answer is counted when its end was sent, which its caller may see first.
    let counted = |wanted: &str| {
        let (registry, wanted) = (bench.registry.clone(), wanted.to_owned());
        async move {
            let mut text = String::new();
            for _ in 0..500 {
                text = registry.text();
                if text.lines().any(|line| {
                    line.split_once('{').is_some_and(|(name, rest)| {
                        wanted
                            == format!(
                                "{name} {}",
                                rest.rsplit_once(' ').map_or("", |(_, value)| value)
                            )
                    })
                }) {
                    return text;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            panic!("{wanted} was not counted:\n{text}");
        }
    };
    let text = counted("istio_requests_total 2").await;
    let line = text
        .lines()
        .find(|line| line.starts_with("istio_requests_total") && line.ends_with(" 2"))
        .unwrap();
    for label in [
        "reporter=\"destination\"",
        "destination_service=\"api.shop.svc.cluster.local\"",
        "destination_service_name=\"api\"",
        "destination_service_namespace=\"shop\"",
        "source_workload=\"unknown\"",
        "response_code=\"200\"",
        "response_flags=\"-\"",
        "request_protocol=\"http\"",
    ] {
        assert!(line.contains(label), "{label} in {line}");
    }
    assert!(text.contains("response_code=\"503\""), "{text}");
    assert!(text.contains("response_flags=\"UH\""), "{text}");
    counted("istio_request_bytes_sum 5").await;
    counted("istio_response_bytes_sum 7").await;
    counted("istio_request_duration_milliseconds_count 2").await;
}
