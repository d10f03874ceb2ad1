//! A pod's volumes as folders of the host, and a container's mounts of them.
//!
//! What a volume holds is decided from the fetched objects ([`contents`]) and then written
//! ([`write`]), so that a missing object is known before anything is made.

mod write;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{
    ConfigMapProjection, Container, DownwardAPIVolumeFile, KeyToPath, Pod, SecretProjection, Volume,
};

use crate::environment::{ConfigError, Facts, References, Sources, expand, field, resource_field};
use crate::kubelet::runtime::Mount;

pub use write::{Owner, write_folder, write_tree};

/// The mode of files where the manifest says nothing.
const DEFAULT_MODE: u32 = 0o644;

/// A file of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// What it holds.
    pub bytes: Vec<u8>,
    /// Its permission bits.
    pub mode: u32,
}

/// The files of a volume by their relative path.
pub type Tree = BTreeMap<String, File>;

/// What a volume is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// An empty folder that lives as long as the pod.
    Empty {
        /// Whether it is to be held in memory.
        memory: bool,
    },
    /// Files made from objects, replaced together when those change.
    Files {
        /// The files.
        tree: Tree,
        /// Whether they are secrets.
        secret: bool,
    },
    /// A file or folder of the host.
    Host {
        /// Where.
        path: PathBuf,
        /// What Kubernetes checks or makes, as in `DirectoryOrCreate`.
        kind: String,
    },
}

impl Content {
    /// Lets the group that the files belong to read them.
    pub fn share_with_group(&mut self) {
        if let Self::Files { tree, .. } = self {
            for file in tree.values_mut() {
                file.mode |= 0o440;
            }
        }
    }
}

/// The objects that the pod's volumes refer to.
#[must_use]
pub fn references(pod: &Pod) -> References {
    let mut found = References::default();
    let volumes = pod
        .spec
        .iter()
        .flat_map(|spec| spec.volumes.iter().flatten());
    for volume in volumes {
        if let Some(source) = &volume.config_map {
            found.config_maps.insert(source.name.clone());
        }
        if let Some(name) = volume
            .secret
            .as_ref()
            .and_then(|secret| secret.secret_name.clone())
        {
            found.secrets.insert(name);
        }
        let projections = volume
            .projected
            .iter()
            .flat_map(|all| all.sources.iter().flatten());
        for projection in projections {
            if let Some(source) = &projection.config_map {
                found.config_maps.insert(source.name.clone());
            }
            if let Some(source) = &projection.secret {
                found.secrets.insert(source.name.clone());
            }
        }
    }
    found
}

/// Why a volume cannot be made: the end of a `FailedMount` event's message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("MountVolume.SetUp failed for volume \"{volume}\" : {cause}")]
pub struct VolumeError {
    /// The volume's name.
    pub volume: String,
    /// What is wrong.
    pub cause: String,
}

/// What a volume holds.
///
/// # Errors
/// An object or key that is missing and not optional, or a kind of volume that there is none of.
pub fn contents(
    pod: &Pod,
    volume: &Volume,
    sources: &Sources,
    facts: &Facts,
) -> Result<Content, VolumeError> {
    content_of(pod, volume, sources, facts).map_err(|cause| VolumeError {
        volume: volume.name.clone(),
        cause,
    })
}

fn content_of(
    pod: &Pod,
    volume: &Volume,
    sources: &Sources,
    facts: &Facts,
) -> Result<Content, String> {
    if let Some(empty) = &volume.empty_dir {
        return Ok(Content::Empty {
            memory: empty.medium.as_deref() == Some("Memory"),
        });
    }
    if let Some(host) = &volume.host_path {
        return Ok(Content::Host {
            path: PathBuf::from(&host.path),
            kind: host.type_.clone().unwrap_or_default(),
        });
    }
    let mut tree = Tree::new();
    if let Some(source) = &volume.config_map {
        let mode = mode(source.default_mode, DEFAULT_MODE);
        let wanted = ConfigMapProjection {
            name: source.name.clone(),
            items: source.items.clone(),
            optional: source.optional,
        };
        add_config_map(pod, &wanted, mode, sources, &mut tree)?;
        return Ok(Content::Files {
            tree,
            secret: false,
        });
    }
    if let Some(source) = &volume.secret {
        let mode = mode(source.default_mode, DEFAULT_MODE);
        let wanted = SecretProjection {
            name: source.secret_name.clone().unwrap_or_default(),
            items: source.items.clone(),
            optional: source.optional,
        };
        add_secret(pod, &wanted, mode, sources, &mut tree)?;
        return Ok(Content::Files { tree, secret: true });
    }
    if let Some(source) = &volume.downward_api {
        let mode = mode(source.default_mode, DEFAULT_MODE);
        add_downward(pod, source.items.as_deref(), mode, facts, &mut tree)?;
        return Ok(Content::Files {
            tree,
            secret: false,
        });
    }
    if let Some(projected) = &volume.projected {
        let mode = mode(projected.default_mode, DEFAULT_MODE);
        let mut secret = false;
        for source in projected.sources.iter().flatten() {
            if let Some(wanted) = &source.config_map {
                add_config_map(pod, wanted, mode, sources, &mut tree)?;
            } else if let Some(wanted) = &source.secret {
                secret = true;
                add_secret(pod, wanted, mode, sources, &mut tree)?;
            } else if let Some(wanted) = &source.downward_api {
                add_downward(pod, wanted.items.as_deref(), mode, facts, &mut tree)?;
            } else if source.service_account_token.is_some() {
                return Err(
                    "service account tokens are not supported yet by this version".to_owned(),
                );
            } else {
                return Err("this projected source is not supported by this version".to_owned());
            }
        }
        return Ok(Content::Files { tree, secret });
    }
    Err(format!(
        "this kind of volume is not supported yet by this version: {}",
        kind_of(volume)
    ))
}

/// The field that says what the volume is, as in `persistentVolumeClaim`.
fn kind_of(volume: &Volume) -> String {
    let fields = serde_json::to_value(volume).unwrap_or_default();
    let named = fields
        .as_object()
        .and_then(|fields| fields.keys().find(|key| *key != "name").cloned());
    named.unwrap_or_else(|| "it names none".to_owned())
}

fn mode(given: Option<i32>, default: u32) -> u32 {
    given.map_or(default, |mode| mode.unsigned_abs() & 0o777)
}

fn add_config_map(
    pod: &Pod,
    wanted: &ConfigMapProjection,
    mode: u32,
    sources: &Sources,
    tree: &mut Tree,
) -> Result<(), String> {
    let optional = wanted.optional == Some(true);
    let Some(map) = sources.config_maps.get(&wanted.name) else {
        return absent(optional, &ConfigError::NoConfigMap(wanted.name.clone()));
    };
    let texts = map.data.iter().flatten();
    let bytes = map.binary_data.iter().flatten();
    let data: BTreeMap<&str, &[u8]> = texts
        .map(|(key, text)| (key.as_str(), text.as_bytes()))
        .chain(bytes.map(|(key, bytes)| (key.as_str(), bytes.0.as_slice())))
        .collect();
    let reference = Reference {
        kind: "configmap",
        pod,
        name: &wanted.name,
        optional,
    };
    add_keys(&reference, &data, wanted.items.as_deref(), mode, tree)
}

fn add_secret(
    pod: &Pod,
    wanted: &SecretProjection,
    mode: u32,
    sources: &Sources,
    tree: &mut Tree,
) -> Result<(), String> {
    let optional = wanted.optional == Some(true);
    let Some(secret) = sources.secrets.get(&wanted.name) else {
        return absent(optional, &ConfigError::NoSecret(wanted.name.clone()));
    };
    let data: BTreeMap<&str, &[u8]> = secret
        .data
        .iter()
        .flatten()
        .map(|(key, bytes)| (key.as_str(), bytes.0.as_slice()))
        .collect();
    let reference = Reference {
        kind: "secret",
        pod,
        name: &wanted.name,
        optional,
    };
    add_keys(&reference, &data, wanted.items.as_deref(), mode, tree)
}

fn absent(optional: bool, error: &ConfigError) -> Result<(), String> {
    if optional {
        Ok(())
    } else {
        Err(error.to_string())
    }
}

struct Reference<'a> {
    kind: &'static str,
    pod: &'a Pod,
    name: &'a str,
    optional: bool,
}

fn add_keys(
    reference: &Reference<'_>,
    data: &BTreeMap<&str, &[u8]>,
    items: Option<&[KeyToPath]>,
    default_mode: u32,
    tree: &mut Tree,
) -> Result<(), String> {
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        for (key, bytes) in data {
            let file = File {
                bytes: bytes.to_vec(),
                mode: default_mode,
            };
            tree.insert((*key).to_owned(), file);
        }
        return Ok(());
    };
    for item in items {
        let Some(bytes) = data.get(item.key.as_str()) else {
            if reference.optional {
                continue;
            }
            let namespace = reference
                .pod
                .metadata
                .namespace
                .as_deref()
                .unwrap_or_default();
            return Err(match reference.kind {
                "secret" => format!("references non-existent secret key: {}", item.key),
                _ => format!(
                    "configmap references non-existent config key: {} ({namespace}/{})",
                    item.key, reference.name
                ),
            });
        };
        let file = File {
            bytes: bytes.to_vec(),
            mode: mode(item.mode, default_mode),
        };
        tree.insert(safe_path(&item.path)?, file);
    }
    Ok(())
}

fn add_downward(
    pod: &Pod,
    items: Option<&[DownwardAPIVolumeFile]>,
    default_mode: u32,
    facts: &Facts,
    tree: &mut Tree,
) -> Result<(), String> {
    for item in items.into_iter().flatten() {
        let text = if let Some(reference) = &item.field_ref {
            field(pod, &reference.field_path, facts)
        } else if let Some(selector) = &item.resource_field_ref {
            resource_field(pod, None, selector, facts)
        } else {
            continue;
        };
        let file = File {
            bytes: text.map_err(|error| error.to_string())?.into_bytes(),
            mode: mode(item.mode, default_mode),
        };
        tree.insert(safe_path(&item.path)?, file);
    }
    Ok(())
}

/// A relative path that stays where it is put.
fn safe_path(path: &str) -> Result<String, String> {
    let unsafe_part = path.split('/').any(|part| matches!(part, "" | "." | ".."));
    if unsafe_part || path.starts_with("..") {
        return Err(format!(
            "invalid path \"{path}\": it must be relative and not contain '..'"
        ));
    }
    Ok(path.to_owned())
}

/// The container's mounts of the pod's volumes. `folders` tells where each volume is, by its name.
///
/// # Errors
/// A volume that does not exist, or a path that leaves its volume.
pub fn mounts(
    container: &Container,
    folders: &BTreeMap<String, PathBuf>,
    env: &[(String, String)],
) -> Result<Vec<Mount>, ConfigError> {
    let mut mounts = Vec::new();
    for mount in container.volume_mounts.iter().flatten() {
        let folder = folders.get(&mount.name).ok_or_else(|| {
            ConfigError::Mount(format!("volume \"{}\" does not exist", mount.name))
        })?;
        let expanded = mount.sub_path_expr.as_deref().map(|text| {
            expand(text, |name| {
                let found = env.iter().find(|(known, _)| known == name);
                found.map(|(_, value)| value.clone())
            })
        });
        let sub_path = expanded
            .or_else(|| mount.sub_path.clone())
            .filter(|path| !path.is_empty());
        let source = match sub_path {
            Some(path) => folder.join(safe_path(path.trim_end_matches('/')).map_err(|_| {
                ConfigError::Mount(format!(
                    "subPath \"{path}\" of volume \"{}\" must be relative and not contain '..'",
                    mount.name
                ))
            })?),
            None => folder.clone(),
        };
        mounts.push(Mount {
            source,
            target: mount.mount_path.clone(),
            read_only: mount.read_only == Some(true),
        });
    }
    Ok(mounts)
}

/// Where the kubelet keeps what belongs to one pod.
#[derive(Clone, Debug)]
pub struct PodFolder {
    /// Volumes and termination messages.
    pub root: PathBuf,
    /// Volumes that are to be held in memory, where there is such a place.
    pub memory: Option<PathBuf>,
}

impl PodFolder {
    /// Where a volume's files are.
    #[must_use]
    pub fn volume(&self, name: &str, content: &Content) -> PathBuf {
        let in_memory = |memory: bool| match (&self.memory, memory) {
            (Some(folder), true) => folder.as_path(),
            _ => self.root.as_path(),
        };
        match content {
            Content::Empty { memory } => in_memory(*memory).join("volumes").join(name),
            Content::Files { secret, .. } => in_memory(*secret).join("volumes").join(name),
            Content::Host { path, .. } => path.clone(),
        }
    }

    /// Where a run's termination message is.
    #[must_use]
    pub fn termination_message(&self, container: &str, attempt: u32) -> PathBuf {
        self.root
            .join("termination")
            .join(container)
            .join(attempt.to_string())
    }

    /// Makes what the volume needs; blocks.
    ///
    /// # Errors
    /// What the host refused.
    pub fn make(
        &self,
        name: &str,
        content: &Content,
        owner: Owner,
    ) -> Result<PathBuf, VolumeError> {
        let folder = self.volume(name, content);
        let made = match content {
            Content::Empty { .. } => write_folder(&folder, 0o777, owner),
            Content::Files { tree, .. } => write_tree(&folder, tree, owner),
            Content::Host { path, kind } => check_host_path(path, kind),
        };
        made.map_err(|error| VolumeError {
            volume: name.to_owned(),
            cause: error.to_string(),
        })?;
        Ok(folder)
    }

    /// Takes everything away; blocks. What is gone already is no error.
    pub fn remove(&self) {
        for folder in [Some(&self.root), self.memory.as_ref()]
            .into_iter()
            .flatten()
        {
            match std::fs::remove_dir_all(folder) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    tracing::warn!(folder = %folder.display(), %error, "cannot remove a pod's folder");
                }
                _ => {}
            }
        }
    }
}

fn check_host_path(path: &Path, kind: &str) -> std::io::Result<()> {
    let fail = |message: &str| {
        Err(std::io::Error::other(format!(
            "hostPath type check failed: {} {message}",
            path.display()
        )))
    };
    match kind {
        "DirectoryOrCreate" if !path.exists() => std::fs::create_dir_all(path),
        "FileOrCreate" if !path.exists() => std::fs::File::create(path).map(drop),
        "Directory" | "DirectoryOrCreate" if !path.is_dir() => fail("is not a directory"),
        "File" | "FileOrCreate" if !path.is_file() => fail("is not a file"),
        _ if !path.exists() => fail("does not exist"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
