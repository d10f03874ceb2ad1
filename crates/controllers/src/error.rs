use springtide_client::ObjectKey;

/// Why a controller could not do what it planned. Every one is retried with back-off.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API refused or could not be reached.
    #[error("{doing} {what}: {source}")]
    Api {
        /// What was tried, as `create ReplicaSet`.
        doing: &'static str,
        /// The object it was tried with.
        what: ObjectKey,
        /// What the API said.
        source: Box<kube::Error>,
    },
    /// The API's kinds could not be found out.
    #[error("discover the API's kinds: {0}")]
    Discovery(#[source] Box<kube::Error>),
    /// Some of several writes failed; the first failure is told.
    #[error("{0}")]
    Partly(String),
}

/// Adds what was tried to an error of the API.
pub(crate) trait Doing<T> {
    fn doing(self, doing: &'static str, what: &ObjectKey) -> Result<T, Error>;
}

impl<T> Doing<T> for kube::Result<T> {
    fn doing(self, doing: &'static str, what: &ObjectKey) -> Result<T, Error> {
        self.map_err(|source| Error::Api {
            doing,
            what: what.clone(),
            source: Box::new(source),
        })
    }
}

/// The message the API gave, without how it got here: what users see in events and conditions.
pub(crate) fn message_of(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// True when the API answered with this HTTP status.
pub(crate) fn is_code(error: &kube::Error, code: u16) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == code)
}

/// True when an object was refused because its namespace is being deleted.
pub(crate) fn is_namespace_terminating(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else {
        return false;
    };
    let causes = status
        .details
        .as_ref()
        .map(|details| details.causes.as_slice())
        .unwrap_or_default();
    causes
        .iter()
        .any(|cause| cause.reason == "NamespaceTerminating")
}

/// Counts an answer of 404 as success: what was to be gone is gone.
pub(crate) fn gone_is_fine<T>(result: kube::Result<T>) -> kube::Result<()> {
    match result {
        Ok(_) => Ok(()),
        Err(error) if is_code(&error, 404) => Ok(()),
        Err(error) => Err(error),
    }
}
