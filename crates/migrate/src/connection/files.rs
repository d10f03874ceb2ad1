//! The passfile and the service file.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::environment::Environment;
use super::failure::ConnectionError;

/// Finds a service: in the file named, else in `~/.pg_service.conf`, else in `pg_service.conf` in the
/// folder `PGSYSCONFDIR`.
pub(super) fn read_service(
    service: &str,
    named: Option<&str>,
    environment: &Environment,
) -> Result<Vec<(String, String)>, ConnectionError> {
    let system = environment
        .get("PGSYSCONFDIR")
        .unwrap_or("/etc/postgresql-common");
    let candidates: Vec<PathBuf> = match named {
        Some(named) => vec![PathBuf::from(named)],
        None => environment
            .home
            .iter()
            .map(|home| home.join(".pg_service.conf"))
            .chain([Path::new(system).join("pg_service.conf")])
            .collect(),
    };
    for file in &candidates {
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => {
                return Err(ConnectionError::Settings(format!(
                    "cannot read the service file {}: {error}",
                    file.display()
                )));
            }
        };
        if let Some(options) = service_in(&text, service) {
            return options.map_err(|line| {
                ConnectionError::Settings(format!(
                    "{} line {line}: an option is written keyword=value",
                    file.display()
                ))
            });
        }
    }
    let places: Vec<String> = candidates
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    Err(ConnectionError::Settings(format!(
        "there is no service {service:?} in {}",
        places.join(" or ")
    )))
}

/// The options of one section; none when it is missing, and the number of a line that is no option.
fn service_in(text: &str, service: &str) -> Option<Result<Vec<(String, String)>, usize>> {
    let mut options = None;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'))
        {
            if options.is_some() {
                break;
            }
            if name == service {
                options = Some(Vec::new());
            }
        } else if let Some(options) = &mut options {
            let Some((option, value)) = line.split_once('=') else {
                return Some(Err(index + 1));
            };
            options.push((option.trim().to_owned(), value.trim().to_owned()));
        }
    }
    options.map(Ok)
}

/// Looks a password up in a passfile; `host` is `localhost` for a socket in its usual folder.
///
/// # Errors
/// Says that the file can be read by others, for which libpq, too, passes it over.
pub(super) fn password(
    file: &Path,
    host: &str,
    port: u16,
    database: &str,
    user: &str,
) -> Result<Option<String>, String> {
    let Ok(metadata) = std::fs::metadata(file) else {
        return Ok(None);
    };
    if !metadata.is_file() {
        return Err(format!(
            "the passfile {} is not a plain file and was passed over",
            file.display()
        ));
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err(format!(
            "the passfile {0} was passed over because others can read it; run: chmod 600 {0}",
            file.display()
        ));
    }
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("cannot read the passfile {}: {error}", file.display()))?;
    let wanted = [host, &port.to_string(), database, user];
    for line in text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
    {
        let fields = passfile_fields(line);
        let matches = fields.len() == 5
            && wanted
                .iter()
                .zip(&fields)
                .all(|(wanted, field)| field == "*" || field == wanted);
        if matches {
            return Ok(fields.into_iter().next_back());
        }
    }
    Ok(None)
}

/// Splits at colons; a backslash takes the next character as it is.
fn passfile_fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        let last = fields.len() - 1;
        match character {
            '\\' => fields[last].extend(characters.next()),
            ':' if fields.len() < 5 => fields.push(String::new()),
            other => fields[last].push(other),
        }
    }
    fields
}
