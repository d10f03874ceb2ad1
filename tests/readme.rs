//! Every command of `examples/feastflow/README.md`, in order, by real kubectl against `tide up`.
//!
//! The commands are read from the page; this file says what each has to show. A command that the page
//! has and this file does not, or the other way round, fails the test.

// Every test uses a part of it.
#[allow(dead_code, unreachable_pub, unused_imports)]
mod support;

use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use support::feastflow::{FeastFlow, source};
use support::{Cluster, Home, Kubectl, User, run};

/// What a command has to show.
enum Shows {
    /// It succeeds and says all of this.
    All(&'static [&'static str]),
    /// It succeeds and says all of this within a minute, when it is run again and again.
    Soon(&'static [&'static str]),
    /// It does not end by itself; it says all of this within a minute.
    Watched(&'static [&'static str]),
}

use Shows::{All, Soon, Watched};

/// A command as the page has it, and what it has to show.
struct Step {
    command: &'static str,
    /// What the test runs instead, where the page leaves something to its reader.
    instead: Option<&'static str>,
    shows: Shows,
}

const fn step(command: &'static str, shows: Shows) -> Step {
    Step {
        command,
        instead: None,
        shows,
    }
}

const fn instead(command: &'static str, instead: &'static str, shows: Shows) -> Step {
    Step {
        command,
        instead: Some(instead),
        shows,
    }
}

const STEPS: &[Step] = &[
    // A tour
    step(
        "kubectl cluster-info",
        All(&[
            "Kubernetes control plane",
            "is running at",
            "https://127.0.0.1:",
        ]),
    ),
    step(
        "kubectl apply -f .",
        All(&[
            "namespace/feastflow created",
            "deployment.apps/feastflow-backend created",
            "service/feastflow-frontend created",
            "poddisruptionbudget.policy/feastflow-backend-pdb created",
            "horizontalpodautoscaler.autoscaling/feastflow-frontend-hpa created",
        ]),
    ),
    step(
        "kubectl wait --for=condition=available --timeout=60s deployment --all -n feastflow",
        All(&[
            "feastflow-backend condition met",
            "feastflow-database condition met",
            "feastflow-frontend condition met",
        ]),
    ),
    step(
        "kubectl get deployments -n feastflow",
        All(&["feastflow-backend 2/2", "feastflow-database 1/1"]),
    ),
    step(
        "curl -s http://127.0.0.1:30080/api/restaurants",
        Soon(&["Trattoria Marea"]),
    ),
    step(
        "curl -s -i http://127.0.0.1:30080/api/health",
        Soon(&["200 OK", "x-served-by: feastflow-backend-"]),
    ),
    step(
        "kubectl top nodes",
        Soon(&["CPU(cores)", "MEMORY(bytes)", "Mi"]),
    ),
    step(
        "kubectl top pods -n feastflow",
        Soon(&[
            "feastflow-backend-",
            "feastflow-frontend-",
            "feastflow-database-",
            "Mi",
        ]),
    ),
    // Manual Scaling
    step(
        "kubectl delete -f 12-backend-hpa.yaml",
        All(&[
            "\"feastflow-backend-hpa\" deleted",
            "\"feastflow-frontend-hpa\" deleted",
        ]),
    ),
    step("chmod +x scaling-demo.sh", All(&[])),
    step(
        "./scaling-demo.sh",
        All(&[
            "=== 2. The backend to 5 replicas (kubectl scale) ===",
            "deployment \"feastflow-backend\" successfully rolled out",
            "feastflow-frontend 6/6",
            "=== 6. What runs at the end ===",
        ]),
    ),
    step(
        "kubectl scale deployment feastflow-backend --replicas=5 -n feastflow",
        All(&["deployment.apps/feastflow-backend scaled"]),
    ),
    step(
        "kubectl scale deployment feastflow-frontend --replicas=6 -n feastflow",
        All(&["deployment.apps/feastflow-frontend scaled"]),
    ),
    step(
        "kubectl get deployment feastflow-backend -n feastflow",
        Soon(&["feastflow-backend 5/5"]),
    ),
    step(
        "kubectl get pods -n feastflow -l component=backend",
        All(&["feastflow-backend-", "1/1", "Running"]),
    ),
    step(
        r#"kubectl patch deployment feastflow-backend -n feastflow -p '{"spec":{"replicas":5}}'"#,
        All(&["deployment.apps/feastflow-backend patched (no change)"]),
    ),
    instead(
        "kubectl edit deployment feastflow-backend -n feastflow",
        "KUBE_EDITOR=\"sed -i 's/replicas: 5/replicas: 4/'\" kubectl edit deployment feastflow-backend -n feastflow",
        All(&["deployment.apps/feastflow-backend edited"]),
    ),
    instead(
        "kubectl apply -f 06-backend-deployment.yaml",
        "sed -i 's/replicas: 2/replicas: 5/' 06-backend-deployment.yaml && kubectl apply -f 06-backend-deployment.yaml",
        All(&["deployment.apps/feastflow-backend configured"]),
    ),
    // Monitoring Manual Scaling
    step(
        "kubectl get deployment feastflow-backend -n feastflow --watch",
        Watched(&["NAME", "feastflow-backend 5/5"]),
    ),
    step(
        "kubectl get pods -n feastflow -l component=backend --watch",
        Watched(&["NAME", "feastflow-backend-", "Running"]),
    ),
    step(
        "kubectl rollout status deployment/feastflow-backend -n feastflow",
        All(&["deployment \"feastflow-backend\" successfully rolled out"]),
    ),
    step(
        "kubectl get endpoints feastflow-backend -n feastflow",
        All(&["ENDPOINTS", ":5000", "+ 2 more..."]),
    ),
    // Horizontal Pod Autoscaler
    step(
        "kubectl scale deployment feastflow-backend feastflow-frontend --replicas=2 -n feastflow",
        All(&[
            "deployment.apps/feastflow-backend scaled",
            "deployment.apps/feastflow-frontend scaled",
        ]),
    ),
    step(
        "kubectl apply -f devops/kubernetes/12-backend-hpa.yaml",
        All(&[
            "feastflow-backend-hpa created",
            "feastflow-frontend-hpa created",
        ]),
    ),
    step(
        "kubectl get hpa -n feastflow",
        All(&[
            "Deployment/feastflow-backend",
            "Deployment/feastflow-frontend",
            "MINPODS",
        ]),
    ),
    step(
        "kubectl describe hpa feastflow-backend-hpa -n feastflow",
        Soon(&[
            "resource cpu on pods (as a percentage of request)",
            "Stabilization Window: 300 seconds",
            "Select Policy: Min",
            "ScalingActive True ValidMetricFound",
        ]),
    ),
    step(
        "kubectl get hpa -n feastflow --watch",
        Watched(&["%/70%", "%/60%"]),
    ),
    step(
        "kubectl get hpa feastflow-backend-hpa -n feastflow -o custom-columns=NAME:.metadata.name,\
         REFERENCE:.spec.scaleTargetRef.name,\
         TARGETS:.status.currentMetrics[*].resource.current.averageUtilization,\
         MINPODS:.spec.minReplicas,MAXPODS:.spec.maxReplicas,REPLICAS:.status.currentReplicas",
        All(&["TARGETS", "feastflow-backend-hpa feastflow-backend", "2 10"]),
    ),
    step(
        "kubectl describe hpa feastflow-backend-hpa -n feastflow",
        All(&["Min replicas:", "Max replicas:", "Conditions:"]),
    ),
    step(
        "kubectl top pods -n feastflow -l component=backend",
        Soon(&["feastflow-backend-", "Mi"]),
    ),
    // Load Testing & Verification
    step("chmod +x hpa-load-test.sh", All(&[])),
    instead(
        "./hpa-load-test.sh",
        "./hpa-load-test.sh --duration 30",
        All(&[
            "=== 3. Load: 10 users on http://feastflow-backend:5000/api/health for 30 s ===",
            "http_reqs",
            "http_req_failed 0.00%",
        ]),
    ),
    instead(
        "./hpa-load-test.sh --duration 300 --concurrent 20 --target backend",
        "./hpa-load-test.sh --duration 3 --concurrent 2 --target frontend",
        All(&[
            "=== 3. Load: 2 users on http://feastflow-frontend/ for 3 s ===",
            "http_req_failed 0.00%",
        ]),
    ),
    instead(
        "kubectl run load-generator -n feastflow --image=tide --restart=Never \
         --overrides='{\"spec\":{\"runtimeClassName\":\"host\"}}' \
         --command -- tide load http://feastflow-backend:5000/api/health --vus 4 --duration 20s",
        "kubectl run load-generator -n feastflow --image=tide --restart=Never \
         --overrides='{\"spec\":{\"runtimeClassName\":\"host\"}}' \
         --command -- tide load http://feastflow-backend:5000/api/health --vus 4 --duration 5s",
        All(&["pod/load-generator created"]),
    ),
    step(
        "kubectl wait --for=condition=ready pod/load-generator -n feastflow --timeout=60s",
        All(&["condition met"]),
    ),
    step(
        "kubectl logs -f load-generator -n feastflow",
        All(&["p95", "http_req_failed 0.00%"]),
    ),
    step(
        "kubectl delete pod load-generator -n feastflow",
        All(&["pod \"load-generator\" deleted"]),
    ),
    instead(
        "tide load http://127.0.0.1:30080/api/health --vus 4 --duration 20s --watch hpa/feastflow-backend-hpa -n feastflow",
        "tide load http://127.0.0.1:30080/api/health --vus 4 --duration 5s --watch hpa/feastflow-backend-hpa -n feastflow",
        All(&["replicas", "http_req_failed 0.00%"]),
    ),
    // Monitor and Adjust
    step(
        "kubectl describe hpa -n feastflow",
        All(&["feastflow-backend-hpa", "feastflow-frontend-hpa"]),
    ),
    step(
        "kubectl get events -n feastflow --field-selector involvedObject.name=feastflow-backend-hpa",
        All(&[
            "SuccessfulRescale",
            "horizontalpodautoscaler/feastflow-backend-hpa",
            "New size:",
        ]),
    ),
    step(
        "kubectl top pods -n feastflow -l component=backend --sort-by=cpu",
        All(&["feastflow-backend-"]),
    ),
    // Troubleshooting
    step(
        "kubectl get deployment metrics-server -n kube-system",
        All(&["metrics-server 1/1"]),
    ),
    step(
        "kubectl logs -n kube-system deployment/metrics-server",
        All(&["serving metrics.k8s.io/v1beta1"]),
    ),
    step(
        "kubectl get --raw /apis/metrics.k8s.io/v1beta1/namespaces/feastflow/pods",
        All(&["\"kind\":\"PodMetricsList\"", "feastflow-backend-"]),
    ),
    step(
        "kubectl get deployment feastflow-backend -n feastflow -o yaml | grep -A 5 resources:",
        All(&["cpu: 500m", "memory: 512Mi", "requests:"]),
    ),
    step(
        "kubectl top pods -n feastflow",
        All(&["feastflow-backend-", "feastflow-database-"]),
    ),
    step(
        "kubectl get hpa feastflow-backend-hpa -n feastflow -o yaml",
        All(&[
            "apiVersion: autoscaling/v2",
            "currentMetrics:",
            "averageUtilization: 70",
            "type: ScalingLimited",
        ]),
    ),
    step(
        "kubectl top pods -n feastflow -l component=backend",
        All(&["feastflow-backend-"]),
    ),
    step(
        "kubectl get hpa -n feastflow",
        All(&["%/70%, memory: ", "%/80%", "%/60%"]),
    ),
    step(
        "kubectl describe hpa feastflow-backend-hpa -n feastflow",
        All(&["AbleToScale", "ScalingLimited", "SuccessfulRescale"]),
    ),
    step(
        "kubectl get pods -n feastflow -o wide",
        All(&["NODE", "10.244.", "NOMINATED NODE"]),
    ),
    step(
        "kubectl describe nodes | grep -A 5 \"Allocated resources\"",
        All(&["Allocated resources:", "Requests", "Limits", "cpu"]),
    ),
    step(
        "kubectl get pods -n feastflow -l component=backend",
        All(&["Running"]),
    ),
    instead(
        "kubectl describe pod <pending-pod-name> -n feastflow",
        "kubectl describe pod -n feastflow $(kubectl get pods -n feastflow -l component=backend \
         -o jsonpath='{.items[0].metadata.name}')",
        All(&["Controlled By: ReplicaSet/feastflow-backend-", "Readiness:"]),
    ),
    // Real-World Scenarios
    step(
        "kubectl scale deployment feastflow-backend --replicas=6 -n feastflow",
        All(&["deployment.apps/feastflow-backend scaled"]),
    ),
    step(
        r#"kubectl patch hpa feastflow-backend-hpa -n feastflow -p '{"spec":{"maxReplicas":20}}'"#,
        All(&["horizontalpodautoscaler.autoscaling/feastflow-backend-hpa patched"]),
    ),
    step(
        r#"kubectl patch hpa feastflow-backend-hpa -n feastflow -p '{"spec":{"maxReplicas":10}}'"#,
        All(&["horizontalpodautoscaler.autoscaling/feastflow-backend-hpa patched"]),
    ),
    step(
        "kubectl get hpa -n feastflow --watch",
        Watched(&["feastflow-backend-hpa", "2 10"]),
    ),
    step(
        "kubectl top pods -n feastflow -l component=backend --sort-by=cpu",
        All(&["feastflow-backend-"]),
    ),
    step(
        r#"kubectl patch hpa feastflow-backend-hpa -n feastflow -p '{"spec":{"minReplicas":1}}'"#,
        All(&["horizontalpodautoscaler.autoscaling/feastflow-backend-hpa patched"]),
    ),
    step(
        r#"kubectl patch hpa feastflow-backend-hpa -n feastflow -p '{"spec":{"minReplicas":2}}'"#,
        All(&["horizontalpodautoscaler.autoscaling/feastflow-backend-hpa patched"]),
    ),
    // Cleaning up
    step(
        "kubectl delete namespace feastflow",
        All(&["namespace \"feastflow\" deleted"]),
    ),
];

/// The scripts take as long as their load, and then some.
const SCRIPT: Duration = Duration::from_secs(180);

#[test]
fn every_command_of_the_page_works_with_the_newest_kubectl() {
    follow(User::Myself, Kubectl::newest());
}

#[test]
fn every_command_of_the_page_works_on_a_platform_of_an_ordinary_user_with_an_old_kubectl() {
    let user = if User::Nobody.is_possible() {
        User::Nobody
    } else {
        User::Myself
    };
    follow(user, Kubectl::old());
}

#[test]
fn the_page_and_this_test_have_the_same_commands() {
    let page: Vec<String> = commands(&page())
        .into_iter()
        .map(|command| command.text)
        .collect();
    let known: Vec<&str> = STEPS.iter().map(|step| step.command).collect();
    assert_eq!(page, known);
}

/// The page puts load on what it starts and shows what that does: another platform under load beside
/// it would take the CPU that it needs.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn follow(user: User, kubectl: Option<Kubectl>) {
    let Some(kubectl) = kubectl else { return };
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let home = Home::new(user);
    let tide = home.up(&["--horizontal-pod-autoscaler-sync-period", "1s"]);
    let mut cluster = Cluster::new(tide, &kubectl);
    let feastflow = FeastFlow::copy(&cluster);
    for (command, step) in commands(&page()).iter().zip(STEPS) {
        assert_eq!(
            command.text, step.command,
            "the page has another command here"
        );
        let line = step
            .instead
            .unwrap_or(step.command)
            .replace("30080", &feastflow.node_port.to_string());
        perform(
            &cluster,
            &feastflow.folder.join(&command.folder),
            &line,
            &step.shows,
        );
    }
    assert!(cluster.tide.is_alive(), "the platform runs on");
}

fn perform(cluster: &Cluster, folder: &Path, line: &str, shows: &Shows) {
    let once = || run(cluster.command_in(folder, line), SCRIPT);
    match shows {
        All(said) => {
            let outcome = once();
            assert_eq!(outcome.status, Some(0), "{outcome:#?}");
            outcome.expect_said(said);
        }
        Soon(said) => {
            support::until(line, support::wait::PATIENCE, || {
                let outcome = once();
                let says_all = said.iter().all(|text| outcome.has_said(text));
                if outcome.status == Some(0) && says_all {
                    Ok(())
                } else {
                    Err(outcome)
                }
            });
        }
        Watched(said) => cluster.watches(folder, line, said),
    }
}

/// A command of the page.
struct Command {
    text: String,
    /// Where it runs, below the example's folder: where the block's `cd` led.
    folder: String,
}

fn page() -> String {
    fs::read_to_string(source().join("README.md")).expect("the example has a page")
}

/// The commands of the page's bash blocks. Each block begins in the example's folder.
fn commands(page: &str) -> Vec<Command> {
    let mut commands = Vec::new();
    let mut block: Option<String> = None;
    let mut unfinished = String::new();
    for line in page.lines() {
        let Some(folder) = &mut block else {
            block = (line == "```bash").then(String::new);
            continue;
        };
        if line == "```" {
            block = None;
            continue;
        }
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(beginning) = line.strip_suffix('\\') {
            unfinished.push_str(beginning);
            continue;
        }
        let text = std::mem::take(&mut unfinished) + line;
        match text.strip_prefix("cd ") {
            Some(into) => into.clone_into(folder),
            None => commands.push(Command {
                text,
                folder: folder.clone(),
            }),
        }
    }
    commands
}
