#!/usr/bin/env python3
"""Writes src/protobuf/messages.txt: the wire format of the messages that `protobuf::decode` reads.

For maintainers only, run after an update of Kubernetes' version or to add a kind:

    python3 crates/machinery/tools/protobuf_table.py > crates/machinery/src/protobuf/messages.txt

Field numbers and wire types are read from the sources of the crate k8s-pb, JSON names and which
fields are required from those of k8s-openapi, both as cargo keeps them (`cargo fetch` of a project
that names them). What neither tells is which fields are pointers in Kubernetes' Go types: Go sends
a plain field even where it is zero, and its JSON then leaves it out, but sends a pointer to zero
only where zero was meant. POINTERS below lists them; `--survey` prints all other optional scalars,
to be looked through after an update.
"""

import pathlib
import re
import sys

REGISTRY = pathlib.Path.home() / ".cargo/registry/src"
OPENAPI_VERSION = "v1_36"

# apiVersion (* is any), kind, module of the message of the same name.
ROOTS = """
v1 Namespace core/v1
v1 Node core/v1
v1 Pod core/v1
v1 Service core/v1
v1 Endpoints core/v1
v1 ConfigMap core/v1
v1 Secret core/v1
v1 ServiceAccount core/v1
v1 Event core/v1
v1 Binding core/v1
* DeleteOptions meta/v1
apps/v1 Deployment apps/v1
apps/v1 ReplicaSet apps/v1
apps/v1 ControllerRevision apps/v1
autoscaling/v1 HorizontalPodAutoscaler autoscaling/v1
autoscaling/v1 Scale autoscaling/v1
autoscaling/v2 HorizontalPodAutoscaler autoscaling/v2
policy/v1 PodDisruptionBudget policy/v1
policy/v1 Eviction policy/v1
coordination.k8s.io/v1 Lease coordination/v1
discovery.k8s.io/v1 EndpointSlice discovery/v1
events.k8s.io/v1 Event events/v1
node.k8s.io/v1 RuntimeClass node/v1
authentication.k8s.io/v1 TokenRequest authentication/v1
authentication.k8s.io/v1 TokenReview authentication/v1
authentication.k8s.io/v1 SelfSubjectReview authentication/v1
authorization.k8s.io/v1 SelfSubjectAccessReview authorization/v1
authorization.k8s.io/v1 SelfSubjectRulesReview authorization/v1
authorization.k8s.io/v1 SubjectAccessReview authorization/v1
authorization.k8s.io/v1 LocalSubjectAccessReview authorization/v1
"""

# Messages whose JSON is no object of their fields.
SPECIAL = {
    "resource/Quantity": "quantity",
    "intstr/IntOrString": "intorstring",
    "meta/v1/Time": "time",
    "meta/v1/MicroTime": "microtime",
    "meta/v1/FieldsV1": "rawjson",
    "runtime/RawExtension": "rawjson",
    "authentication/v1/ExtraValue": "stringlist",
    "authorization/v1/ExtraValue": "stringlist",
}

# Optional scalars that Kubernetes' Go types hold by pointer, so that zero is kept. (The replicas of
# a Scale are no pointer; keeping their zero says the same and says it plainly.)
POINTERS = """
apps/v1/DeploymentSpec progressDeadlineSeconds replicas revisionHistoryLimit
apps/v1/DeploymentStatus collisionCount terminatingReplicas
apps/v1/ReplicaSetSpec replicas
apps/v1/ReplicaSetStatus terminatingReplicas
authentication/v1/TokenRequestSpec expirationSeconds
autoscaling/v1/HorizontalPodAutoscalerSpec minReplicas targetCPUUtilizationPercentage
autoscaling/v1/HorizontalPodAutoscalerStatus currentCPUUtilizationPercentage observedGeneration
autoscaling/v1/ScaleSpec replicas
autoscaling/v2/HorizontalPodAutoscalerSpec minReplicas
autoscaling/v2/HorizontalPodAutoscalerStatus observedGeneration
autoscaling/v2/HpaScalingRules stabilizationWindowSeconds selectPolicy
autoscaling/v2/MetricTarget averageUtilization
autoscaling/v2/MetricValueStatus averageUtilization
coordination/v1/LeaseSpec leaseDurationSeconds leaseTransitions holderIdentity preferredHolder strategy
core/v1/AppArmorProfile localhostProfile
core/v1/AzureDiskVolumeSource cachingMode fsType kind readOnly
core/v1/CSIVolumeSource fsType readOnly
core/v1/ClientIpConfig timeoutSeconds
core/v1/ClusterTrustBundleProjection name optional signerName
core/v1/ConfigMap immutable
core/v1/ConfigMapEnvSource optional
core/v1/ConfigMapKeySelector optional
core/v1/ConfigMapProjection optional
core/v1/ConfigMapVolumeSource defaultMode optional
core/v1/Container restartPolicy
core/v1/ContainerStatus started stopSignal
core/v1/DownwardAPIVolumeFile mode
core/v1/DownwardAPIVolumeSource defaultMode
core/v1/EndpointAddress nodeName
core/v1/EndpointPort appProtocol
core/v1/EphemeralContainerCommon restartPolicy
core/v1/FcVolumeSource lun
core/v1/FileKeySelector optional
core/v1/GrpcAction service
core/v1/HostPathVolumeSource type
core/v1/IscsiVolumeSource initiatorName
core/v1/KeyToPath mode
core/v1/Lifecycle stopSignal
core/v1/LoadBalancerIngress ipMode
core/v1/NodeFeatures supplementalGroupsPolicy
core/v1/NodeRuntimeHandlerFeatures recursiveReadOnlyMounts userNamespaces
core/v1/NodeSwapStatus capacity
core/v1/PersistentVolumeClaimSpec storageClassName volumeAttributesClassName volumeMode
core/v1/PodCertificateProjection maxExpirationSeconds
core/v1/PodDnsConfigOption value
core/v1/PodResourceClaim resourceClaimName resourceClaimTemplateName
core/v1/PodResourceClaimStatus resourceClaimName
core/v1/PodSecurityContext fsGroup fsGroupChangePolicy runAsGroup runAsNonRoot runAsUser seLinuxChangePolicy supplementalGroupsPolicy
core/v1/PodSpec activeDeadlineSeconds automountServiceAccountToken enableServiceLinks hostUsers hostnameOverride preemptionPolicy priority runtimeClassName setHostnameAsFQDN shareProcessNamespace terminationGracePeriodSeconds
core/v1/PortStatus error
core/v1/Probe terminationGracePeriodSeconds
core/v1/ProjectedVolumeSource defaultMode
core/v1/SeccompProfile localhostProfile
core/v1/Secret immutable
core/v1/SecretEnvSource optional
core/v1/SecretKeySelector optional
core/v1/SecretProjection optional
core/v1/SecretVolumeSource defaultMode optional
core/v1/SecurityContext allowPrivilegeEscalation privileged procMount readOnlyRootFilesystem runAsGroup runAsNonRoot runAsUser
core/v1/ServiceAccount automountServiceAccountToken
core/v1/ServiceAccountTokenProjection expirationSeconds
core/v1/ServicePort appProtocol
core/v1/ServiceSpec allocateLoadBalancerNodePorts internalTrafficPolicy ipFamilyPolicy loadBalancerClass trafficDistribution
core/v1/Toleration tolerationSeconds
core/v1/TopologySpreadConstraint minDomains nodeAffinityPolicy nodeTaintsPolicy
core/v1/TypedLocalObjectReference apiGroup
core/v1/TypedObjectReference apiGroup namespace
core/v1/VolumeMount mountPropagation recursiveReadOnly
core/v1/VolumeMountStatus recursiveReadOnly
core/v1/WindowsSecurityContextOptions gmsaCredentialSpec gmsaCredentialSpecName hostProcess runAsUserName
discovery/v1/Endpoint hostname nodeName zone
discovery/v1/EndpointConditions ready serving terminating
discovery/v1/EndpointPort appProtocol name port protocol
meta/v1/DeleteOptions gracePeriodSeconds ignoreStoreReadErrorWithClusterBreakingPotential orphanDependents propagationPolicy
meta/v1/ObjectMeta deletionGracePeriodSeconds
meta/v1/OwnerReference blockOwnerDeletion controller
meta/v1/Preconditions resourceVersion uid
policy/v1/PodDisruptionBudgetSpec unhealthyPodEvictionPolicy
"""

# Fields of message type that are plain in Go and mean nothing where they are zero.
PLAIN_MESSAGES = {"core/v1/ServicePort.targetPort"}

# Messages whose JSON is that of another.
ALIASES = {
    "core/v1/EphemeralContainerCommon": "core/v1/EphemeralContainer",
    "core/v1/ProbeHandler": "core/v1/Probe",
    "core/v1/VolumeSource": "core/v1/Volume",
}

# Fields whose members stand in the JSON of the message itself.
INLINE = {
    f"core/v1/{field}"
    for field in [
        "ConfigMapEnvSource.local_object_reference",
        "ConfigMapKeySelector.local_object_reference",
        "ConfigMapProjection.local_object_reference",
        "ConfigMapVolumeSource.local_object_reference",
        "EphemeralContainer.ephemeral_container_common",
        "Probe.handler",
        "SecretEnvSource.local_object_reference",
        "SecretKeySelector.local_object_reference",
        "SecretProjection.local_object_reference",
        "Volume.volume_source",
    ]
}

WRAPPERS = {"Option", "Vec", "BTreeMap", "String", "Box"}

SCALARS = {
    "string": "string",
    "bytes": "bytes",
    "bool": "bool",
    "int32": "int",
    "int64": "int",
    "uint32": "int",
    "double": "double",
}


def newest(crate):
    found = sorted(REGISTRY.glob(f"*/{crate}-[0-9]*"))
    if not found:
        sys.exit(f"no source of {crate} under {REGISTRY}")
    return found[-1]


def short(module):
    """`api/core/v1` and `apimachinery/pkg/apis/meta/v1` to `core/v1` and `meta/v1`."""
    return re.sub(r"^(api|apimachinery/pkg/(apis|api|util)|apimachinery/pkg)/", "", module)


def read_messages(root):
    """Message → [(number, Rust name, repeated, kind, map's value kind)] of all of k8s-pb."""
    messages = {}
    for path in (root / "src").rglob("mod.rs"):
        module = str(path.parent.relative_to(root / "src"))
        text = re.sub(r"^\s*///.*\n", "", path.read_text(), flags=re.M)
        for struct in re.finditer(r"pub struct (\w+) \{\n(.*?)^\}", text, re.S | re.M):
            fields = []
            pattern = r"#\[prost\((.*?)\)\]\s*pub (?:r#)?(\w+):\s*(.*?),\n(?=\s*#\[|\s*$|\Z)"
            for attributes, name, kind in re.findall(pattern, struct[2] + "\n", re.S):
                number = int(re.search(r'tag = "(\d+)"', attributes)[1])
                repeated = "repeated" in attributes
                entry = re.search(r'btree_map = "string, (\w+)"', attributes)
                target = entry[1] if entry else re.match(r"\w+", attributes)[0]
                if target == "message":
                    inner = re.findall(r"(?:super::|[a-z_0-9]+::)*(?:r#)?[A-Z]\w+", kind)
                    reference = [one for one in inner if one.split("::")[-1] not in WRAPPERS][-1]
                    target = resolve(module, reference)
                fields.append((number, name, repeated, target, bool(entry)))
            messages[f"{short(module)}/{struct[1]}"] = fields
    return messages


def resolve(module, reference):
    parts = module.split("/")
    names = reference.split("::")
    while names and names[0] == "super":
        names = names[1:]
        parts = parts[:-1]
    return f"{short('/'.join(parts + names[:-1]))}/{names[-1]}"


def read_json_names(root):
    """Message → {name without case and underscores: (JSON name, required)} of k8s-openapi."""
    found = {}
    base = root / "src" / OPENAPI_VERSION
    for path in base.rglob("*.rs"):
        text = path.read_text()
        struct = re.search(r"^pub struct (\w+) \{\n(.*?)^\}", text, re.S | re.M)
        if not struct:
            continue
        keys = dict(re.findall(r'"([^"]+)" => Field::Key_(\w+)', text))
        keys |= dict(re.findall(r'"([^"]+)" => Ok\(Field::Key_(\w+)', text))
        types = dict(re.findall(r"^    pub (?:r#)?(\w+): (.*),$", struct[2], re.M))
        module = short(str(path.parent.relative_to(base)))
        names = {}
        for json_name, rust_name in keys.items():
            kind = types.get(rust_name.removesuffix("_"), types.get(rust_name, ""))
            required = bool(kind) and not kind.startswith("Option<")
            names[json_name.lower()] = (json_name, required)
        found[f"{module}/{struct[1]}".lower()] = names
    return found


def camel(name):
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def main():
    messages = read_messages(newest("k8s-pb"))
    json_names = read_json_names(newest("k8s-openapi"))
    pointers = {f"{line.split()[0]}.{field}" for line in POINTERS.strip().splitlines() for field in line.split()[1:]}
    unused = set(pointers)
    roots = [line.split() for line in ROOTS.strip().splitlines()]
    queue = [f"{module}/{kind}" for _, kind, module in roots]
    table, plain = {}, []
    while queue:
        name = queue.pop()
        if name in table or name in SPECIAL:
            continue
        # k8s-pb spells HPAScalingPolicy as HpaScalingPolicy.
        known = json_names.get(ALIASES.get(name, name).lower(), {})
        if not known:
            print(f"{name}: JSON names and required fields are not known", file=sys.stderr)
        rows = []
        for number, rust_name, repeated, target, is_map in sorted(messages[name]):
            match = known.get(rust_name.replace("_", "").lower())
            is_message = target not in SCALARS
            inline = not match and f"{name}.{rust_name}" in INLINE
            if known and not match and not inline:
                print(f"{name}: no JSON name of {rust_name}, left out", file=sys.stderr)
                continue
            json_name, required = match or (camel(rust_name), False)
            kind = SPECIAL.get(target) or SCALARS.get(target) or target
            if is_message and target not in SPECIAL:
                queue.append(target)
            label = "inline" if inline else "map" if is_map else "list" if repeated else "kept"
            field = f"{name}.{json_name}"
            unused.discard(field)
            droppable = target in SCALARS or kind in ("time", "microtime") or field in PLAIN_MESSAGES
            if label == "kept" and droppable and not required and field not in pointers:
                label = "one"
                plain.append(f"{field} {target}")
            rows.append(f"  {number} {json_name} {label} {kind}")
        table[name] = rows
        if name not in ALIASES and not any(" inline " in row for row in rows):
            missing = {found for found, _ in known.values()} - {row.split()[1] for row in rows}
            missing -= {"apiVersion", "kind"}
            if missing:
                print(f"{name}: no number of {sorted(missing)}", file=sys.stderr)
    if unused:
        sys.exit(f"listed as pointers, but no optional fields: {sorted(unused)}")
    if "--survey" in sys.argv:
        print("\n".join(sorted(plain)))
        return
    print("# Made by tools/protobuf_table.py: do not edit.")
    for version, kind, module in roots:
        print(f"kind {version} {kind} {module}/{kind}")
    for name in sorted(table):
        print(f"message {name}")
        print("\n".join(table[name]))


main()
