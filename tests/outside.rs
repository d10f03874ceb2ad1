//! The platform and other machines: who calls it from there, and whom its pods call by a Service.

// Every test uses a part of it.
#[allow(dead_code, unreachable_pub, unused_imports)]
mod support;

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, TcpListener, UdpSocket};

use support::{Cluster, Home, Kubectl, User, skip};

/// The address by which this machine would call others; `None`, with a printed line, where it has only loopback.
fn own_address() -> Option<IpAddr> {
    // Nothing is sent: this only chooses a route, towards an address that is nobody's.
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    let found = socket
        .connect("192.0.2.1:9")
        .and_then(|()| socket.local_addr());
    match found {
        Ok(address) if !address.ip().is_loopback() => Some(address.ip()),
        _ => {
            skip("this machine has no address but loopback");
            None
        }
    }
}

/// Answers every request with a text, as long as the test runs.
fn serve(listener: TcpListener, text: &'static str) {
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = stream.read(&mut [0; 4096]);
            let length = text.len();
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{text}"
            );
            let _ = stream.write_all(answer.as_bytes());
        }
    });
}

#[test]
fn a_service_with_endpoints_of_its_own_leads_pods_to_what_is_no_pod() {
    let (Some(kubectl), Some(address)) = (Kubectl::newest(), own_address()) else {
        return;
    };
    let listener = TcpListener::bind((address, 0)).expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    serve(listener, "the ledger");
    let cluster = Cluster::new(Home::new(User::Myself).up(&[]), &kubectl);
    cluster.apply(&format!(
        r"
apiVersion: v1
kind: Pod
metadata: {{name: clerk}}
spec:
  runtimeClassName: host
  terminationGracePeriodSeconds: 1
  containers: [{{name: main, image: shell, command: [sleep, infinity]}}]
---
apiVersion: v1
kind: Service
metadata: {{name: ledger}}
spec: {{ports: [{{port: 80}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: ledger-1, labels: {{kubernetes.io/service-name: ledger}}}}
addressType: IPv4
ports: [{{name: '', port: {port}}}]
endpoints: [{{addresses: ['{address}']}}]
"
    ));
    cluster.ok("kubectl wait --for=condition=Ready pod/clerk --timeout=60s");
    cluster.comes_to_say(
        "kubectl exec clerk -- curl -s --max-time 5 http://ledger/",
        &["the ledger"],
    );
    // Not by itself: only what an administrator has named is reached.
    let direct = format!("kubectl exec clerk -- curl -s --max-time 2 http://{address}:{port}/");
    let outcome = cluster.run(&direct);
    assert_ne!(outcome.status, Some(0), "{outcome:#?}");

    // The older kind is stored, and what happens to it is said.
    cluster.write(
        "older.yaml",
        &format!(
            "{{apiVersion: v1, kind: Endpoints, metadata: {{name: ledger}}, subsets: [{{addresses: [{{ip: {address}}}], ports: [{{port: {port}}}]}}]}}"
        ),
    );
    cluster.says(
        "kubectl apply -f older.yaml",
        &[
            "Warning: subsets: nothing is sent to these addresses",
            "make an EndpointSlice",
        ],
    );
}

#[test]
fn kubectl_of_another_machine_trusts_the_names_that_it_was_told() {
    let Some(kubectl) = Kubectl::newest() else {
        return;
    };
    let tide = Home::new(User::Myself).up(&[
        "--api-listen",
        "0.0.0.0:0",
        "--tls-san",
        "127.0.0.2,tide.example",
    ]);
    let cluster = Cluster::new(tide, &kubectl);
    let server = cluster.tide.server();
    let (_, port) = server.rsplit_once(':').expect("a port");
    let data = cluster.tide.home().data();
    // An address of loopback that no certificate names by itself stands for another machine's way.
    for (address, more, works) in [
        ("127.0.0.2", "", true),
        ("127.0.0.3", "", false),
        ("127.0.0.3", "--tls-server-name tide.example", true),
    ] {
        cluster.ok(&format!(
            "tide kubeconfig --data-dir '{}' --server https://{address}:{port} > elsewhere",
            data.display()
        ));
        let nodes = format!("kubectl --kubeconfig elsewhere {more} get nodes");
        if works {
            cluster.says(&nodes, &["Ready"]);
        } else {
            cluster.refuses(&nodes, &["certificate is valid for", "127.0.0.2"]);
        }
    }
    // Without the administrator's certificate nobody is let in.
    let secrets = format!("curl -sk https://127.0.0.2:{port}/api/v1/secrets");
    cluster.says(&secrets, &["system:anonymous", "Forbidden"]);
}
