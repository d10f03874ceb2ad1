//! The example application, in a copy that can be changed and with a node port of its own.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::cluster::Cluster;
use super::platform::free_node_port;

/// A copy of `examples/feastflow`.
pub struct FeastFlow {
    /// Where it is.
    pub folder: PathBuf,
    /// The frontend's node port in this copy.
    pub node_port: u16,
}

impl FeastFlow {
    /// Copies the example into the cluster's folder.
    ///
    /// # Panics
    /// When it cannot be copied.
    pub fn copy(cluster: &Cluster) -> Self {
        let folder = cluster.work().join("feastflow");
        fs::create_dir_all(folder.join("devops")).expect("the folder can be written");
        symlink("..", folder.join("devops/kubernetes")).expect("the folder is fresh");
        let node_port = free_node_port();
        for entry in fs::read_dir(source())
            .expect("the example is there")
            .flatten()
        {
            let path = entry.path();
            if !path.is_file() {
                continue;
            }
            let copied = folder.join(entry.file_name());
            fs::copy(&path, &copied).expect("the example can be copied");
            if entry.file_name() == "09-frontend-service.yaml" {
                let text = fs::read_to_string(&path).expect("manifests are text");
                assert!(
                    text.contains("nodePort: 30080"),
                    "the frontend has its well-known port"
                );
                fs::write(&copied, text.replace("30080", &node_port.to_string()))
                    .expect("the copy can be changed");
            }
        }
        Self { folder, node_port }
    }

    /// Applies all of it but the autoscalers, and waits until it is available.
    ///
    /// # Panics
    /// When it is not within a minute.
    #[track_caller]
    pub fn start(&self, cluster: &Cluster) {
        fs::rename(
            self.folder.join("12-backend-hpa.yaml"),
            cluster.work().join("12-backend-hpa.yaml"),
        )
        .expect("the copy can be changed");
        cluster.ok("kubectl apply -f feastflow");
        cluster.ok(
            "kubectl wait --for=condition=available --timeout=60s deployment --all -n feastflow",
        );
        let page = format!("curl -sf --max-time 5 http://127.0.0.1:{}/", self.node_port);
        cluster.comes_to_say(&page, &["FeastFlow"]);
    }

    /// The frontend from outside.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.node_port)
    }
}

/// The example in the repository.
pub fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/feastflow")
}
