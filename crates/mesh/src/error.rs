use springtide_node::keeper::KeeperError;

/// Why the data plane could not be started.
#[derive(Debug, thiserror::Error)]
pub enum MeshError {
    /// The threads in the mesh namespace could not be started.
    #[error("the mesh namespace cannot be used: {0}")]
    Namespace(#[from] std::io::Error),
    /// The keeper did not give a socket that nothing works without.
    #[error("no socket for {what}: {source}")]
    Socket {
        /// What it was for.
        what: &'static str,
        /// What the keeper said.
        source: KeeperError,
    },
}
