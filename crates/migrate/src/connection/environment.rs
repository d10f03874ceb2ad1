use std::collections::BTreeMap;
use std::path::PathBuf;

/// What libpq takes from the process it runs in.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// The environment variables.
    pub variables: BTreeMap<String, String>,
    /// The home folder: `.pgpass`, `.pg_service.conf` and `.postgresql` are looked for in it.
    pub home: Option<PathBuf>,
    /// The name of the operating system's user, PostgreSQL's default user.
    pub user: Option<String>,
}

impl Environment {
    /// The environment of this process.
    #[must_use]
    pub fn of_process() -> Self {
        let variables: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let account = account_of(rustix::process::geteuid().as_raw());
        let home = variables
            .get("HOME")
            .filter(|home| !home.is_empty())
            .map(PathBuf::from)
            .or_else(|| account.as_ref().map(|(_, home)| home.clone()));
        let user = account
            .map(|(name, _)| name)
            .or_else(|| variables.get("USER").cloned());
        Self {
            variables,
            home,
            user,
        }
    }

    /// The value of a variable; an empty one counts as unset.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.variables
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }
}

/// Name and home folder of a user, from `/etc/passwd`.
fn account_of(uid: u32) -> Option<(String, PathBuf)> {
    let accounts = std::fs::read_to_string("/etc/passwd").ok()?;
    accounts.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        (fields.get(2)?.parse() == Ok(uid)).then(|| {
            (
                fields[0].to_owned(),
                PathBuf::from(fields.get(5).unwrap_or(&"/")),
            )
        })
    })
}
