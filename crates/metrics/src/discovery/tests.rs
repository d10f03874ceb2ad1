use std::time::Duration;

use super::*;

#[test]
fn the_built_in_jobs_are_valid() {
    let jobs = annotated_jobs();
    let names: Vec<&str> = jobs.iter().map(|job| job.job_name.as_str()).collect();
    assert_eq!(names, ["kubernetes-pods", "kubernetes-service-endpoints"]);
}

#[test]
fn lists_of_targets_are_read_from_json_and_yaml() {
    let json = r#"[{"targets": ["a:1", "b:2"], "labels": {"env": "x"}}]"#;
    let from_file = file::groups(json, "t.json").expect("valid");
    assert_eq!(from_file[0].targets[1][ADDRESS], "b:2");
    assert_eq!(from_file[0].labels["__meta_filepath"], "t.json");
    let yaml = "- targets: [a:1]\n- targets: [c:3]\n  labels: {env: y}\n";
    assert_eq!(file::groups(yaml, "t.yml").expect("valid").len(), 2);
    let from_server = server::groups(json.as_bytes(), "http://x/").expect("valid");
    assert_eq!(from_server[0].labels["__meta_url"], "http://x/");
    assert!(file::groups("- target: [a]\n", "t.yml").is_err());
    assert!(server::groups(b"{}", "http://x/").is_err());
}

#[tokio::test]
async fn a_file_that_changes_is_read_again_and_a_broken_one_keeps_its_targets() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("targets.json");
    std::fs::write(&path, r#"[{"targets": ["a:1"]}]"#).expect("written");
    let sources = Sources {
        files: vec![FileSdConfig {
            files: vec!["*.json".to_owned()],
            refresh_interval: crate::config::PromDuration::from(Duration::from_millis(100)),
        }],
        ..Sources::default()
    };
    let environment = Environment {
        folder: folder.path().to_owned(),
        caches: None,
    };
    let stop = CancellationToken::new();
    let (mut groups, mut tasks) = discover(&sources, &environment, &stop);
    let addresses = |groups: &Groups| -> Vec<String> {
        let all = groups.values().flatten().flat_map(|group| &group.targets);
        all.map(|target| target[ADDRESS].clone()).collect()
    };
    let limit = Duration::from_secs(20);
    let first = groups.wait_for(|groups| addresses(groups) == ["a:1"]);
    drop(
        tokio::time::timeout(limit, first)
            .await
            .expect("in time")
            .expect("open"),
    );
    std::fs::write(&path, "[{").expect("written");
    std::fs::write(folder.path().join("more.json"), r#"[{"targets": ["b:2"]}]"#).expect("written");
    let both = groups.wait_for(|groups| addresses(groups) == ["b:2", "a:1"]);
    drop(
        tokio::time::timeout(limit, both)
            .await
            .expect("in time")
            .expect("open"),
    );
    std::fs::remove_file(&path).expect("removed");
    let one = groups.wait_for(|groups| addresses(groups) == ["b:2"]);
    drop(
        tokio::time::timeout(limit, one)
            .await
            .expect("in time")
            .expect("open"),
    );
    stop.cancel();
    while tasks.join_next().await.is_some() {}
}
