//! Pods and pod templates.

use serde_json::Value;

use super::{Gap, gap, gap_if, warn};
use crate::error::FieldPath;
use crate::members::{has, is_true, items};

pub(super) const NO_PULL: &str = "images are not pulled by this version; the secret is not used";
pub(super) const NO_TOKEN: &str = "no service account token is mounted into containers";
const NO_VOLUME: &str =
    "volumes of this kind are not supported; the pod waits with a FailedMount event";
const NOT_CONFINED: &str =
    "no such profile is applied; what confines the container are its namespaces and capabilities";
const NOT_SHARED: &str = "is not looked at; a pod is placed by what the nodes have left";
const NO_GRPC: &str = "gRPC probes are not supported; every check counts as failed";
const NO_TCP_HOOK: &str = "fails when it is due; a hook can be exec, httpGet or sleep";

/// Kinds of volumes that there are none of.
pub(super) const VOLUMES: [&str; 24] = [
    "awsElasticBlockStore",
    "azureDisk",
    "azureFile",
    "cephfs",
    "cinder",
    "csi",
    "ephemeral",
    "fc",
    "flexVolume",
    "flocker",
    "gcePersistentDisk",
    "gitRepo",
    "glusterfs",
    "image",
    "iscsi",
    "nfs",
    "persistentVolumeClaim",
    "photonPersistentDisk",
    "portworxVolume",
    "quobyte",
    "rbd",
    "scaleIO",
    "storageos",
    "vsphereVolume",
];

/// Of the pod as a whole.
pub(super) const POD: &[Gap] = &[
    gap("affinity.podAffinity", NOT_SHARED),
    gap("affinity.podAntiAffinity", NOT_SHARED),
    gap("automountServiceAccountToken", NO_TOKEN),
    gap("ephemeralContainers", "are not started"),
    gap("hostIPC", "the pod has an IPC namespace of its own"),
    gap("hostPID", "the pod has a process namespace of its own"),
    gap("hostUsers", "every pod has a user namespace of its own"),
    gap("imagePullSecrets[]", NO_PULL),
    gap_if(
        "os.name",
        |name| name == "windows",
        "containers run on Linux",
    ),
    gap(
        "priorityClassName",
        "decides which waiting pod is placed first; no running pod makes room for another",
    ),
    gap(
        "resourceClaims",
        "no devices are allocated; the claims are not looked at",
    ),
    gap(
        "schedulingGroup",
        "is not looked at; each pod is placed by itself",
    ),
    gap_if(
        "securityContext.appArmorProfile.type",
        confines,
        NOT_CONFINED,
    ),
    gap(
        "securityContext.seLinuxChangePolicy",
        "SELinux labels are not set",
    ),
    gap(
        "securityContext.seLinuxOptions",
        "SELinux labels are not set",
    ),
    gap_if(
        "securityContext.seccompProfile.type",
        confines,
        NOT_CONFINED,
    ),
    gap("securityContext.sysctls", "are not set"),
    gap("securityContext.windowsOptions", "containers run on Linux"),
    gap(
        "setHostnameAsFQDN",
        "the host name inside the pod is the short one",
    ),
    gap_if(
        "shareProcessNamespace",
        |shared| *shared == false,
        "the containers of a pod always see each other's processes",
    ),
    gap("topologySpreadConstraints", NOT_SHARED),
    gap(
        "volumes[].emptyDir.sizeLimit",
        "is not enforced; the volume can grow as far as the disk it is on",
    ),
    gap_if(
        "volumes[].emptyDir.medium",
        |medium| says(medium, |text| text.starts_with("HugePages")),
        "the volume is an ordinary folder",
    ),
    gap(
        "volumes[].projected.sources[].clusterTrustBundle",
        NO_VOLUME,
    ),
    gap("volumes[].projected.sources[].podCertificate", NO_VOLUME),
    gap(
        "volumes[].projected.sources[].serviceAccountToken",
        NO_VOLUME,
    ),
];

/// Of each container, those that initialise included.
pub(super) const CONTAINER: &[Gap] = &[
    gap(
        "env[].valueFrom.fileKeyRef",
        "is not read; the variable is empty",
    ),
    gap("lifecycle.postStart.tcpSocket", NO_TCP_HOOK),
    gap("lifecycle.preStop.tcpSocket", NO_TCP_HOOK),
    gap("livenessProbe.grpc", NO_GRPC),
    gap("readinessProbe.grpc", NO_GRPC),
    gap("startupProbe.grpc", NO_GRPC),
    gap_if(
        "resizePolicy[].restartPolicy",
        |policy| policy != "NotRequired",
        "pods are not resized in place; other resources need another pod",
    ),
    gap("resources.claims", "no devices are allocated"),
    gap(
        "resources.limits[ephemeral-storage]",
        "is not enforced; the container can fill the disk it writes to",
    ),
    gap(
        "restartPolicyRules",
        "are not looked at; the restart policy alone decides",
    ),
    gap(
        "securityContext.allowPrivilegeEscalation",
        "no container can gain privileges by executing a program",
    ),
    gap_if(
        "securityContext.appArmorProfile.type",
        confines,
        NOT_CONFINED,
    ),
    gap_if(
        "securityContext.capabilities.add",
        |names| {
            let mut names = names.as_array().into_iter().flatten();
            names.any(|name| says(name, |text| text.eq_ignore_ascii_case("ALL")))
        },
        "SYS_ADMIN is not added, as it would let the container leave its root",
    ),
    gap(
        "securityContext.privileged",
        "the container is confined like any other; it gets no devices and no further capabilities",
    ),
    gap_if(
        "securityContext.procMount",
        |kind| kind != "Default",
        "what /proc hides by default stays hidden",
    ),
    gap(
        "securityContext.seLinuxOptions",
        "SELinux labels are not set",
    ),
    gap_if(
        "securityContext.seccompProfile.type",
        confines,
        NOT_CONFINED,
    ),
    gap("securityContext.windowsOptions", "containers run on Linux"),
    gap("stdin", "the process reads an empty stdin"),
    gap("tty", "the process gets no terminal"),
    gap("volumeDevices", "no devices are passed into containers"),
    gap_if(
        "volumeMounts[].mountPropagation",
        |kind| kind != "None",
        "what is mounted later, in the container or on the host, is not seen by the other",
    ),
];

/// Of a container whose pod has a network of its own.
pub(super) const CONTAINER_IN_MESH: &[Gap] = &[gap(
    "ports[].hostPort",
    "nothing listens on this port of the host; Services of type NodePort and LoadBalancer do",
)];

/// Of a pod in the host's network.
pub(super) const POD_ON_HOST: &[Gap] = &[gap_if(
    "dnsPolicy",
    |policy| policy == "ClusterFirstWithHostNet",
    "the cluster's name server cannot be reached from the host's network",
)];

/// Warns about what a pod's `spec`, which is at `path`, asks for in vain.
pub(crate) fn spec(warnings: &mut Vec<String>, spec: &Value, path: &FieldPath) {
    warn(warnings, spec, path, POD);
    for (index, volume) in items(spec, "volumes").enumerate() {
        let path = path.child("volumes").index(index);
        for kind in VOLUMES {
            if has(volume, kind) {
                warnings.push(format!("{}: {NO_VOLUME}", path.child(kind)));
            }
        }
    }
    let on_host = is_true(spec, "hostNetwork");
    if on_host {
        warn(warnings, spec, path, POD_ON_HOST);
    }
    for list in ["initContainers", "containers"] {
        for (index, container) in items(spec, list).enumerate() {
            let path = path.child(list).index(index);
            warn(warnings, container, &path, CONTAINER);
            if !on_host {
                warn(warnings, container, &path, CONTAINER_IN_MESH);
            }
        }
    }
}

/// Whether the type of a seccomp or AppArmor profile asks for one.
fn confines(kind: &Value) -> bool {
    kind != "Unconfined"
}

fn says(value: &Value, test: impl Fn(&str) -> bool) -> bool {
    value.as_str().is_some_and(test)
}
