//! What of its own doings the platform logs: `TIDE_LOG`, as in `info` or `springtide_node=debug`.

use tracing_subscriber::EnvFilter;

const VARIABLE: &str = "TIDE_LOG";
/// What is logged where nothing else is said, or what is said cannot be used.
const DEFAULT: &str = "warn";

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// The parts that log something.
const PARTS: [&str; 15] = [
    "tide",
    "springtide_apiserver",
    "springtide_autoscaler",
    "springtide_client",
    "springtide_controllers",
    "springtide_load",
    "springtide_machinery",
    "springtide_mesh",
    "springtide_metrics",
    "springtide_migrate",
    "springtide_node",
    "springtide_samples",
    "springtide_scheduler",
    "springtide_sim",
    "springtide_store",
];

/// What the environment asks for.
pub(crate) fn of_environment() -> EnvFilter {
    EnvFilter::try_from_env(VARIABLE).unwrap_or_else(|_| EnvFilter::new(DEFAULT))
}

/// A sentence on what the environment asks for in vain.
pub(crate) fn fault_of_environment() -> Option<String> {
    let wanted = std::env::var_os(VARIABLE)?;
    fault(&wanted.to_string_lossy())
}

fn fault(wanted: &str) -> Option<String> {
    let hint = format!(
        "write one of {}, or a part and one of them, as in springtide_node=debug",
        LEVELS.join(", ")
    );
    if let Err(error) = wanted.parse::<EnvFilter>() {
        return Some(format!(
            "{VARIABLE}={wanted} cannot be used ({error}), so that warnings are logged: {hint}"
        ));
    }
    let words = wanted.split(',').map(str::trim);
    let unknown = words.filter(|word| !word.is_empty()).find(|word| {
        let part = word.split(['=', '[', ':']).next().unwrap_or_default();
        let is_level = LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word));
        // A library may be named too, but hardly for all that it says.
        let is_library = word.contains('=') && !part.starts_with("springtide");
        !(is_level || is_library || PARTS.contains(&part))
    })?;
    Some(format!(
        "{VARIABLE} names \"{unknown}\", which is neither a level nor a part that logs anything: {hint}"
    ))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn levels_parts_and_libraries_are_taken_and_everything_else_is_named() {
        for good in [
            "info",
            "DEBUG",
            "off",
            "springtide_node=debug",
            "warn,springtide_mesh=trace,springtide_store=debug",
            "springtide_node::kubelet=debug",
            "springtide_metrics",
            "tide=info",
            "hyper=debug",
            "",
        ] {
            assert_eq!(fault(good), None, "{good}");
        }
        for (wrong, named) in [
            ("nonsense", "\"nonsense\""),
            ("info,loud", "\"loud\""),
            ("springtide_nod=debug", "\"springtide_nod=debug\""),
            ("springtide_node=loud", "TIDE_LOG=springtide_node=loud"),
        ] {
            let said = fault(wrong).expect("a fault");
            assert!(said.contains(named) && said.contains("as in"), "{said}");
        }
    }

    #[test]
    fn every_crate_is_a_part() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
        let crates: BTreeSet<String> = std::fs::read_dir(folder)
            .expect("the crates")
            .flatten()
            .filter(|entry| entry.path().join("Cargo.toml").is_file())
            .map(|entry| match entry.file_name().to_str() {
                Some("tide") => "tide".to_owned(),
                name => format!("springtide_{}", name.unwrap_or_default()),
            })
            .collect();
        assert_eq!(crates, PARTS.map(str::to_owned).into());
    }
}
