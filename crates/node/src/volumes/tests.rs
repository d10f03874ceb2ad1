use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use serde_json::{Value, json};

use super::*;

fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("a valid object")
}

fn sources() -> Sources {
    Sources {
        config_maps: [(
            "settings".to_owned(),
            Arc::new(read(json!({"data": {"a.conf": "a", "b.conf": "b"}}))),
        )]
        .into(),
        secrets: [(
            "keys".to_owned(),
            Arc::new(read(json!({"data": {"token": "c2VjcmV0"}}))),
        )]
        .into(),
        services: Vec::new(),
    }
}

fn content(volume: Value) -> Result<Content, String> {
    let pod: Pod = read(
        json!({"metadata": {"name": "p", "namespace": "n", "uid": "u",
        "labels": {"app": "web", "tier": "x"}}, "spec": {"containers": [{"name": "c"}]}}),
    );
    contents(&pod, &read(volume), &sources(), &Facts::default()).map_err(|error| error.to_string())
}

fn listing(volume: Value) -> String {
    match content(volume) {
        Ok(Content::Files { tree, .. }) => {
            let lines = tree.iter().map(|(path, file)| {
                format!(
                    "{path} {:o} {}",
                    file.mode,
                    String::from_utf8_lossy(&file.bytes)
                )
            });
            lines.collect::<Vec<_>>().join("\n")
        }
        Ok(other) => format!("{other:?}"),
        Err(message) => message,
    }
}

#[test]
fn volumes_hold_what_their_sources_say() {
    let table = [
        (
            json!({"name": "v", "configMap": {"name": "settings"}}),
            "a.conf 644 a\nb.conf 644 b",
        ),
        (
            json!({"name": "v", "configMap": {"name": "settings", "defaultMode": 256,
                "items": [{"key": "b.conf", "path": "deep/b", "mode": 384}, {"key": "a.conf", "path": "a"}]}}),
            "a 400 a\ndeep/b 600 b",
        ),
        (
            json!({"name": "v", "secret": {"secretName": "keys"}}),
            "token 644 secret",
        ),
        (
            json!({"name": "v", "configMap": {"name": "none", "optional": true}}),
            "",
        ),
        (
            json!({"name": "v", "configMap": {"name": "none"}}),
            "MountVolume.SetUp failed for volume \"v\" : configmap \"none\" not found",
        ),
        (
            json!({"name": "v", "secret": {"secretName": "none"}}),
            "MountVolume.SetUp failed for volume \"v\" : secret \"none\" not found",
        ),
        (
            json!({"name": "v", "downwardAPI": {"items": [
                {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}}),
            "labels 644 app=\"web\"\ntier=\"x\"",
        ),
        (
            json!({"name": "v", "projected": {"sources": [
                {"configMap": {"name": "settings", "items": [{"key": "a.conf", "path": "a"}]}},
                {"secret": {"name": "keys"}},
                {"downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}}]}}),
            "a 644 a\nname 644 p\ntoken 644 secret",
        ),
        (
            json!({"name": "v", "emptyDir": {"medium": "Memory"}}),
            "Empty { memory: true }",
        ),
        (
            json!({"name": "v", "persistentVolumeClaim": {"claimName": "c"}}),
            "MountVolume.SetUp failed for volume \"v\" : this kind of volume is not supported yet \
             by this version: persistentVolumeClaim",
        ),
        (
            json!({"name": "v", "configMap": {"name": "settings",
                "items": [{"key": "a.conf", "path": "../a"}]}}),
            "MountVolume.SetUp failed for volume \"v\" : invalid path \"../a\": it must be \
             relative and not contain '..'",
        ),
    ];
    for (volume, expected) in table {
        assert_eq!(listing(volume.clone()), expected, "{volume}");
    }
}

#[test]
fn a_change_is_seen_at_once_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().join("v");
    let file = |text: &str| File {
        bytes: text.as_bytes().to_vec(),
        mode: 0o640,
    };
    let first: Tree = [("a".to_owned(), file("1")), ("d/b".to_owned(), file("2"))].into();
    write_tree(&place, &first, None).expect("written");
    assert_eq!(fs::read_to_string(place.join("a")).expect("a"), "1");
    assert_eq!(fs::read_to_string(place.join("d/b")).expect("b"), "2");
    let mode = fs::metadata(place.join("a"))
        .expect("a")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o640);
    let data = fs::read_link(place.join("..data")).expect("a link");

    write_tree(&place, &first, None).expect("written again");
    assert_eq!(fs::read_link(place.join("..data")).expect("a link"), data);

    let second: Tree = [("a".to_owned(), file("3"))].into();
    write_tree(&place, &second, None).expect("changed");
    assert_eq!(fs::read_to_string(place.join("a")).expect("a"), "3");
    assert!(!place.join("d").exists());
    let mut names: Vec<String> = fs::read_dir(&place)
        .expect("a folder")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    assert_eq!(names, ["..data", "..v2", "a"]);
}

#[test]
fn mounts_stay_inside_their_volume() {
    let folders: BTreeMap<String, PathBuf> = [("v".to_owned(), PathBuf::from("/pods/v"))].into();
    let env = [("NAME".to_owned(), "me".to_owned())];
    let table = [
        (json!({"name": "v", "mountPath": "/m"}), Ok("/pods/v")),
        (
            json!({"name": "v", "mountPath": "/m", "subPath": "a/b"}),
            Ok("/pods/v/a/b"),
        ),
        (
            json!({"name": "v", "mountPath": "/m", "subPathExpr": "x-$(NAME)"}),
            Ok("/pods/v/x-me"),
        ),
        (
            json!({"name": "v", "mountPath": "/m", "subPath": "../x"}),
            Err("subPath \"../x\" of volume \"v\" must be relative and not contain '..'"),
        ),
        (
            json!({"name": "w", "mountPath": "/m"}),
            Err("volume \"w\" does not exist"),
        ),
    ];
    for (mount, expected) in table {
        let container: Container = read(json!({"name": "c", "volumeMounts": [mount]}));
        let found = mounts(&container, &folders, &env)
            .map(|mounts| mounts[0].source.display().to_string())
            .map_err(|error| error.to_string());
        assert_eq!(found.as_deref().map_err(String::as_str), expected);
    }
}

#[test]
fn what_a_volume_holds_goes_on_to_the_same_users_of_the_next_sandbox() {
    use std::os::unix::fs::{MetadataExt as _, chown};
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().join("v");
    if fs::metadata("/proc/self").expect("a process").uid() != 0 {
        println!("skipped: only root can give files away");
        return;
    }
    write_folder(&place, 0o777, Some((100_000, 100_000))).expect("made");
    fs::create_dir(place.join("d")).expect("made");
    fs::write(place.join("d/f"), "x").expect("written");
    chown(place.join("d"), Some(100_000), Some(100_000)).expect("given");
    chown(place.join("d/f"), Some(101_000), Some(100_007)).expect("given");
    write_folder(&place, 0o777, Some((300_000, 300_000))).expect("made");
    let ids = |path: &str| {
        let known = fs::metadata(place.join(path)).expect("there");
        (known.uid(), known.gid())
    };
    assert_eq!(ids("d"), (300_000, 300_000));
    assert_eq!(ids("d/f"), (301_000, 300_007));

    let file = File {
        bytes: b"s".to_vec(),
        mode: 0o400,
    };
    let tree: Tree = [("token".to_owned(), file)].into();
    let secret = folder.path().join("s");
    for user in [100_000, 300_000] {
        write_tree(&secret, &tree, Some((user, user))).expect("written");
        let known = fs::metadata(secret.join("token")).expect("there");
        assert_eq!((known.uid(), known.mode() & 0o777), (user, 0o400));
    }
}
