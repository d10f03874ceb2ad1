//! Answers questions over UDP and TCP.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, PTR, SOA, SRV};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use springtide_client::Cache;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::names::{Meaning, View, resolve};
use crate::worker::TcpStreamInTransit;

/// How long an answer may be remembered, in seconds; endpoints change quickly.
const TTL: u32 = 5;
/// How long one of the host's resolvers may take.
const FORWARD_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a TCP caller may keep its connection without asking.
const TCP_IDLE: Duration = Duration::from_secs(10);
/// Questions answered at once, so that a flood of foreign names cannot take all memory.
const CONCURRENT: usize = 512;
/// The largest UDP answer for a caller that does not say it takes more.
const PLAIN_UDP_SIZE: u16 = 512;

/// Cluster DNS.
#[derive(Clone)]
pub struct Server {
    shared: Arc<Shared>,
}

struct Shared {
    services: Cache<Service>,
    slices: Cache<EndpointSlice>,
    domain: String,
    resolvers: Vec<SocketAddr>,
    questions: Arc<Semaphore>,
}

impl View for Shared {
    fn service(&self, namespace: &str, name: &str) -> Option<Arc<Service>> {
        self.services.get(namespace, name)
    }

    fn slices(&self, namespace: &str, service: &str) -> Vec<Arc<EndpointSlice>> {
        let is_of = |slice: &Arc<EndpointSlice>| {
            let labels = slice.metadata.labels.as_ref();
            labels
                .and_then(|labels| labels.get("kubernetes.io/service-name"))
                .is_some_and(|name| name == service)
        };
        self.slices
            .list_in(namespace)
            .into_iter()
            .filter(is_of)
            .collect()
    }

    fn service_at(&self, address: IpAddr) -> Option<Arc<Service>> {
        let text = address.to_string();
        self.services.list().into_iter().find(|service| {
            service
                .spec
                .as_ref()
                .and_then(|spec| spec.cluster_ip.as_deref())
                == Some(text.as_str())
        })
    }
}

/// How a question came, which bounds the size of its answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Transport {
    Udp,
    Tcp,
}

// === impl Server ===

impl Server {
    /// Knows the names under `domain`; asks `resolvers` for the others.
    #[must_use]
    pub fn new(
        services: Cache<Service>,
        slices: Cache<EndpointSlice>,
        domain: &str,
        resolvers: Vec<SocketAddr>,
    ) -> Self {
        let shared = Shared {
            services,
            slices,
            domain: domain.to_owned(),
            resolvers,
            questions: Arc::new(Semaphore::new(CONCURRENT)),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Answers what comes over `udp`, and over the connections of `tcp`, until `stop` is cancelled.
    pub(crate) async fn run(
        self,
        udp: UdpSocket,
        mut tcp: mpsc::Receiver<TcpStreamInTransit>,
        stop: CancellationToken,
    ) {
        let udp = Arc::new(udp);
        let mut question = vec![0; 4096];
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                received = udp.recv_from(&mut question) => match received {
                    Ok((length, caller)) => self.answer_udp(&udp, question[..length].to_vec(), caller),
                    Err(error) => tracing::debug!(%error, "a question could not be received"),
                },
                Some(connection) = tcp.recv() => self.answer_tcp(connection),
            }
        }
    }

    fn answer_udp(&self, socket: &Arc<UdpSocket>, question: Vec<u8>, caller: SocketAddr) {
        // Over the bound the question is dropped, as a full queue would; the caller asks again.
        let Ok(permit) = Arc::clone(&self.shared.questions).try_acquire_owned() else {
            return;
        };
        let (server, socket) = (self.clone(), Arc::clone(socket));
        tokio::spawn(async move {
            let _permit = permit;
            if let Some(answer) = server.answer(&question, Transport::Udp).await {
                // A caller that is gone needs no answer.
                let _ = socket.send_to(&answer, caller).await;
            }
        });
    }

    fn answer_tcp(&self, connection: TcpStreamInTransit) {
        let Ok(permit) = Arc::clone(&self.shared.questions).try_acquire_owned() else {
            return;
        };
        let server = self.clone();
        tokio::spawn(async move {
            let _permit = permit;
            let Ok(mut stream) = TcpStream::from_std(connection) else {
                return;
            };
            while let Ok(Ok(question)) =
                tokio::time::timeout(TCP_IDLE, read_framed(&mut stream)).await
            {
                let Some(answer) = server.answer(&question, Transport::Tcp).await else {
                    return;
                };
                if write_framed(&mut stream, &answer).await.is_err() {
                    return;
                }
            }
        });
    }

    async fn answer(&self, bytes: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let Ok(question) = Message::from_vec(bytes) else {
            // Without its number an answer would be of no use.
            let id = u16::from_be_bytes(bytes.get(..2)?.try_into().ok()?);
            let error = Message::error_msg(id, OpCode::Query, ResponseCode::FormErr);
            return error.to_vec().ok();
        };
        if question.metadata.message_type != MessageType::Query {
            return None;
        }
        let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
        answer.metadata.recursion_desired = question.metadata.recursion_desired;
        answer.metadata.recursion_available = true;
        answer.add_queries(question.queries.iter().cloned());
        let [query] = question.queries.as_slice() else {
            answer.metadata.response_code = ResponseCode::FormErr;
            return answer.to_vec().ok();
        };
        if question.metadata.op_code != OpCode::Query {
            answer.metadata.response_code = ResponseCode::NotImp;
            return answer.to_vec().ok();
        }
        let name = query.name.to_ascii();
        let meaning = resolve(
            name.trim_end_matches('.'),
            &self.shared.domain,
            self.shared.as_ref(),
        );
        if meaning == Meaning::Foreign {
            if let Some(forwarded) = self.forward(bytes, transport).await {
                return Some(forwarded);
            }
            answer.metadata.response_code = ResponseCode::ServFail;
            return answer.to_vec().ok();
        }
        answer.metadata.authoritative = true;
        self.fill(&mut answer, query, meaning);
        if let Some(edns) = &question.edns {
            let mut reply = hickory_proto::op::Edns::new();
            reply.set_max_payload(edns.max_payload().max(PLAIN_UDP_SIZE));
            answer.set_edns(reply);
        }
        let encoded = answer.to_vec().ok()?;
        let limit = usize::from(question.max_payload().max(PLAIN_UDP_SIZE));
        if transport == Transport::Udp && encoded.len() > limit {
            return answer.truncate().to_vec().ok();
        }
        Some(encoded)
    }

    fn fill(&self, answer: &mut Message, query: &Query, meaning: Meaning) {
        let record = |data: RData| Record::from_rdata(query.name.clone(), TTL, data);
        match meaning {
            Meaning::Addresses(addresses) => {
                let fitting = addresses
                    .into_iter()
                    .filter_map(|address| address_data(address, query.query_type));
                answer.add_answers(fitting.map(record));
            }
            Meaning::Alias(target) => {
                if let Ok(target) = absolute(&target) {
                    answer.add_answer(record(RData::CNAME(CNAME(target))));
                }
            }
            Meaning::Pointer(target) if query.query_type == RecordType::PTR => {
                if let Ok(target) = absolute(&target) {
                    answer.add_answer(record(RData::PTR(PTR(target))));
                }
            }
            Meaning::Ports(ports) if query.query_type == RecordType::SRV => {
                let weight = u16::try_from(100 / ports.len().clamp(1, 100)).unwrap_or(1);
                for port in ports {
                    let Ok(target) = absolute(&port.target) else {
                        continue;
                    };
                    answer.add_answer(record(RData::SRV(SRV::new(
                        0,
                        weight,
                        port.port,
                        target.clone(),
                    ))));
                    for address in port.addresses {
                        if let Some(data) = address_data(address, RecordType::A) {
                            answer.add_additional(Record::from_rdata(target.clone(), TTL, data));
                        }
                    }
                }
            }
            Meaning::Pointer(_) | Meaning::Ports(_) | Meaning::Foreign => {}
            Meaning::NoSuchName => answer.metadata.response_code = ResponseCode::NXDomain,
        }
        if answer.answers.is_empty()
            && let Some(authority) = self.authority()
        {
            answer.add_authority(authority);
        }
    }

    /// Says for how long a "no" may be remembered.
    fn authority(&self) -> Option<Record> {
        let zone = absolute(&self.shared.domain).ok()?;
        let server = absolute(&format!("ns.dns.{}", self.shared.domain)).ok()?;
        let mailbox = absolute(&format!("hostmaster.{}", self.shared.domain)).ok()?;
        let soa = SOA::new(server, mailbox, 1, 7200, 1800, 86_400, TTL);
        Some(Record::from_rdata(zone, TTL, RData::SOA(soa)))
    }

    /// Asks the host's resolvers, one after the other, as the host itself would.
    async fn forward(&self, question: &[u8], transport: Transport) -> Option<Vec<u8>> {
        for resolver in &self.shared.resolvers {
            let asked = async {
                match transport {
                    Transport::Udp => ask_udp(*resolver, question).await,
                    Transport::Tcp => ask_tcp(*resolver, question).await,
                }
            };
            if let Ok(Ok(answer)) = tokio::time::timeout(FORWARD_TIMEOUT, asked).await {
                return Some(answer);
            }
        }
        None
    }
}

/// The resolvers that a `resolv.conf` names; none where it cannot be read.
pub(crate) fn resolvers(resolv_conf: &Path) -> Vec<SocketAddr> {
    let text = std::fs::read_to_string(resolv_conf).unwrap_or_default();
    parse_resolvers(&text)
}

fn parse_resolvers(text: &str) -> Vec<SocketAddr> {
    text.lines()
        .filter_map(|line| {
            line.trim()
                .strip_prefix("nameserver")?
                .trim()
                .parse::<IpAddr>()
                .ok()
        })
        .map(|address| SocketAddr::new(address, 53))
        .collect()
}

fn address_data(address: IpAddr, asked: RecordType) -> Option<RData> {
    match (address, asked) {
        (IpAddr::V4(address), RecordType::A | RecordType::ANY) => Some(RData::A(A(address))),
        (IpAddr::V6(address), RecordType::AAAA | RecordType::ANY) => {
            Some(RData::AAAA(AAAA(address)))
        }
        _ => None,
    }
}

fn absolute(name: &str) -> Result<Name, hickory_proto::ProtoError> {
    let mut name = Name::from_str(name)?;
    name.set_fqdn(true);
    Ok(name)
}

async fn ask_udp(resolver: SocketAddr, question: &[u8]) -> std::io::Result<Vec<u8>> {
    let local: SocketAddr = if resolver.is_ipv4() {
        ([0, 0, 0, 0], 0).into()
    } else {
        ([0_u16; 8], 0).into()
    };
    let socket = UdpSocket::bind(local).await?;
    socket.connect(resolver).await?;
    socket.send(question).await?;
    let mut answer = vec![0; 4096];
    loop {
        let length = socket.recv(&mut answer).await?;
        // Anything else is not the answer to this question.
        if answer.get(..2) == question.get(..2) {
            answer.truncate(length);
            return Ok(answer);
        }
    }
}

async fn ask_tcp(resolver: SocketAddr, question: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(resolver).await?;
    write_framed(&mut stream, question).await?;
    read_framed(&mut stream).await
}

/// A message over TCP comes after its length in two bytes (RFC 1035, 4.2.2).
async fn read_framed(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut message = vec![0; usize::from(length)];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

async fn write_framed(stream: &mut TcpStream, message: &[u8]) -> std::io::Result<()> {
    let length = u16::try_from(message.len()).map_err(std::io::Error::other)?;
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend_from_slice(message);
    stream.write_all(&framed).await
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn server() -> Server {
        let service = json!({
            "metadata": {"namespace": "shop", "name": "api"},
            "spec": {"clusterIP": "10.96.0.9", "ports": [{"name": "http", "port": 80}]},
        });
        let services = Cache::fixed([serde_json::from_value::<Service>(service).unwrap()]);
        Server::new(services, Cache::fixed([]), "cluster.local", Vec::new())
    }

    async fn ask(name: &str, kind: RecordType) -> Message {
        let mut question = Message::query();
        question.metadata.id = 77;
        question.add_query(Query::query(absolute(name).unwrap(), kind));
        let answer = server()
            .answer(&question.to_vec().unwrap(), Transport::Udp)
            .await
            .unwrap();
        Message::from_vec(&answer).unwrap()
    }

    #[tokio::test]
    async fn a_service_has_an_address_and_no_other_kind_of_it() {
        let answer = ask("api.shop.svc.cluster.local", RecordType::A).await;
        assert_eq!(
            (answer.metadata.id, answer.metadata.response_code),
            (77, ResponseCode::NoError)
        );
        assert_eq!(answer.answers[0].data, RData::A(A::new(10, 96, 0, 9)));
        let answer = ask("api.shop.svc.cluster.local", RecordType::AAAA).await;
        assert_eq!(
            (answer.metadata.response_code, answer.answers.len()),
            (ResponseCode::NoError, 0)
        );
        assert_eq!(
            answer.authorities.len(),
            1,
            "how long the no may be remembered"
        );
    }

    #[tokio::test]
    async fn a_name_that_is_not_there_is_said_not_to_be_there() {
        let answer = ask("nobody.shop.svc.cluster.local", RecordType::A).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
        let answer = ask("example.org", RecordType::A).await;
        assert_eq!(
            answer.metadata.response_code,
            ResponseCode::ServFail,
            "no resolver, no answer"
        );
    }

    #[tokio::test]
    async fn what_is_no_question_is_answered_with_an_error_or_not_at_all() {
        let answer = server()
            .answer(&[0, 9, 1, 2, 3], Transport::Udp)
            .await
            .unwrap();
        let answer = Message::from_vec(&answer).unwrap();
        assert_eq!(
            (answer.metadata.id, answer.metadata.response_code),
            (9, ResponseCode::FormErr)
        );
        assert!(server().answer(&[0], Transport::Udp).await.is_none());
        let response = Message::response(3, OpCode::Query).to_vec().unwrap();
        assert!(server().answer(&response, Transport::Udp).await.is_none());
    }

    #[test]
    fn the_hosts_resolvers_are_read_from_its_file() {
        let text = "# a comment\nsearch example.org\nnameserver 192.0.2.1\nnameserver\t2001:db8::1\nnameserver what\n";
        let found: Vec<_> = parse_resolvers(text)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(found, ["192.0.2.1:53", "[2001:db8::1]:53"]);
    }
}
