//! The one table of what a manifest may say: every field that this agent honours, and why some others are refused.
//!
//! A field is added here in the change that makes the agent honour it, and nowhere else. Fields that are in the API and not in this
//! table are refused as "not supported by this node", so that nothing is parsed and ignored. What only a scheduler reads (affinity to
//! other pods, tolerations, classes of priorities) is no business of a node agent; it is accepted as [`Foreign`].

use crate::shape::Shape::{
    Bool, Foreign, Int32, Int64, IntOrName, List, Map, Object, Quantity, Text,
};
use crate::shape::{Field, no, only, yes};
use serde_json::Value;

const SERVICE_ACCOUNT: &str = "a static pod may not reference a service account";
const SYSTEM: &str = "is set by the system; remove it";
const OBJECTS: &str = "ConfigMaps and Secrets are not supported by this node";
const CLUSTER_VOLUME: &str =
    "this type of volume is not supported by this node: it has emptyDir and hostPath";

fn is(value: &Value, text: &str) -> bool {
    value.as_str() == Some(text)
}
fn is_false(value: &Value) -> bool {
    value.as_bool() == Some(false)
}
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

pub(crate) static POD: &[Field] = &[
    only("apiVersion", Text, |v| is(v, "v1"), "must be \"v1\""),
    only("kind", Text, |v| is(v, "Pod"), "must be \"Pod\""),
    yes("metadata", Object(METADATA)),
    yes("spec", Object(SPEC)),
    // What `kubectl create --dry-run=client -o yaml` writes.
    only(
        "status",
        Foreign,
        is_empty,
        "the status of a pod is written by the node; remove it",
    ),
];

static METADATA: &[Field] = &[
    yes("name", Text),
    yes("namespace", Text),
    yes("uid", Text),
    yes("labels", Map(&Text)),
    yes("annotations", Map(&Text)),
    no("generateName", "a static pod needs a name of its own"),
    // `creationTimestamp: null`, as kubectl writes it, is nothing.
    no("creationTimestamp", SYSTEM),
    no("deletionTimestamp", SYSTEM),
    no("deletionGracePeriodSeconds", SYSTEM),
    no("resourceVersion", SYSTEM),
    no("generation", SYSTEM),
    no("selfLink", SYSTEM),
    no("managedFields", SYSTEM),
    no("ownerReferences", "a static pod has no owner; remove it"),
    no("finalizers", "a static pod has no finalizers; remove them"),
];

static SPEC: &[Field] = &[
    yes("restartPolicy", Text),
    yes("terminationGracePeriodSeconds", Int64),
    yes("hostNetwork", Bool),
    yes("hostPID", Bool),
    yes("hostIPC", Bool),
    yes("shareProcessNamespace", Bool),
    only(
        "hostUsers",
        Bool,
        |v| v.as_bool() == Some(true),
        "user namespaces are not supported by this node",
    ),
    yes("hostname", Text),
    yes("subdomain", Text),
    yes("setHostnameAsFQDN", Bool),
    yes("hostAliases", List(&Object(HOST_ALIAS))),
    yes("dnsPolicy", Text),
    yes("dnsConfig", Object(DNS_CONFIG)),
    // A node without an API server has no services: links or none, the environment is the same.
    yes("enableServiceLinks", Bool),
    yes("nodeName", Text),
    yes("os", Object(OS)),
    yes("securityContext", Object(POD_SECURITY_CONTEXT)),
    yes("initContainers", List(&Object(CONTAINER))),
    yes("containers", List(&Object(CONTAINER))),
    yes("volumes", List(&Object(VOLUME))),
    yes("nodeSelector", Map(&Text)),
    // What it requires of the node; the rest is for a scheduler.
    yes("affinity", Foreign),
    yes("tolerations", Foreign),
    yes("topologySpreadConstraints", Foreign),
    yes("schedulerName", Foreign),
    yes("priority", Int32),
    yes("priorityClassName", Foreign),
    yes("preemptionPolicy", Foreign),
    only("serviceAccountName", Text, is_empty, SERVICE_ACCOUNT),
    only("serviceAccount", Text, is_empty, SERVICE_ACCOUNT),
    only(
        "automountServiceAccountToken",
        Bool,
        is_false,
        SERVICE_ACCOUNT,
    ),
    only(
        "imagePullSecrets",
        Foreign,
        is_empty,
        "a static pod may not reference secrets; give the node the credentials of its registries",
    ),
    only(
        "ephemeralContainers",
        Foreign,
        is_empty,
        "ephemeral containers are not allowed in a static pod",
    ),
    only(
        "resourceClaims",
        Foreign,
        is_empty,
        "a static pod may not reference resource claims",
    ),
    only(
        "schedulingGates",
        Foreign,
        is_empty,
        "a static pod is not scheduled",
    ),
    yes("readinessGates", List(&Object(READINESS_GATE))),
    yes("activeDeadlineSeconds", Int64),
    no(
        "runtimeClassName",
        "runtime classes are not supported by this node",
    ),
    no(
        "resources",
        "resources of a whole pod are not supported by this node",
    ),
];

static HOST_ALIAS: &[Field] = &[yes("ip", Text), yes("hostnames", List(&Text))];

static DNS_CONFIG: &[Field] = &[
    yes("nameservers", List(&Text)),
    yes("searches", List(&Text)),
    yes("options", List(&Object(DNS_OPTION))),
];
static DNS_OPTION: &[Field] = &[yes("name", Text), yes("value", Text)];

static OS: &[Field] = &[yes("name", Text)];

static SECCOMP: &[Field] = &[yes("type", Text), yes("localhostProfile", Text)];

static POD_SECURITY_CONTEXT: &[Field] = &[
    yes("runAsUser", Int64),
    yes("runAsGroup", Int64),
    yes("runAsNonRoot", Bool),
    yes("supplementalGroups", List(&Int64)),
    yes("supplementalGroupsPolicy", Text),
    yes("fsGroup", Int64),
    yes("seccompProfile", Object(SECCOMP)),
    yes("sysctls", List(&Object(SYSCTL))),
];
static SYSCTL: &[Field] = &[yes("name", Text), yes("value", Text)];

static CONTAINER_SECURITY_CONTEXT: &[Field] = &[
    yes("runAsUser", Int64),
    yes("runAsGroup", Int64),
    yes("runAsNonRoot", Bool),
    yes("capabilities", Object(CAPABILITIES)),
    yes("privileged", Bool),
    yes("readOnlyRootFilesystem", Bool),
    yes("allowPrivilegeEscalation", Bool),
    yes("seccompProfile", Object(SECCOMP)),
    only(
        "procMount",
        Text,
        |v| is(v, "Default") || is_empty(v),
        "only \"Default\" is supported by this node",
    ),
];
static CAPABILITIES: &[Field] = &[yes("add", List(&Text)), yes("drop", List(&Text))];

static CONTAINER: &[Field] = &[
    yes("name", Text),
    yes("image", Text),
    yes("command", List(&Text)),
    yes("args", List(&Text)),
    yes("workingDir", Text),
    yes("env", List(&Object(ENV))),
    yes("ports", List(&Object(PORT))),
    yes("resources", Object(RESOURCES)),
    yes("volumeMounts", List(&Object(VOLUME_MOUNT))),
    yes("imagePullPolicy", Text),
    yes("securityContext", Object(CONTAINER_SECURITY_CONTEXT)),
    yes("stdin", Bool),
    yes("tty", Bool),
    only(
        "stdinOnce",
        Bool,
        is_false,
        "attach is not supported by this node",
    ),
    yes("terminationMessagePath", Text),
    yes("terminationMessagePolicy", Text),
    only("envFrom", Foreign, is_empty, OBJECTS),
    only(
        "volumeDevices",
        Foreign,
        is_empty,
        "block devices are not supported by this node",
    ),
    only(
        "resizePolicy",
        Foreign,
        is_empty,
        "resizing in place is not supported by this node",
    ),
    yes("livenessProbe", Object(PROBE)),
    yes("readinessProbe", Object(PROBE)),
    yes("startupProbe", Object(PROBE)),
    yes("lifecycle", Object(LIFECYCLE)),
    yes("restartPolicy", Text),
    yes("restartPolicyRules", List(&Object(RESTART_RULE))),
];

const NOT_EPHEMERAL: &str = "Forbidden: cannot be set for an Ephemeral Container";

/// A pod of which nothing is said but its ephemeral containers.
pub(crate) static WITH_EPHEMERAL: &[Field] = &[yes("spec", Object(EPHEMERAL_SPEC))];
static EPHEMERAL_SPEC: &[Field] = &[yes("ephemeralContainers", List(&Object(EPHEMERAL)))];
static EPHEMERAL: &[Field] = &[
    yes("name", Text),
    yes("image", Text),
    yes("command", List(&Text)),
    yes("args", List(&Text)),
    yes("workingDir", Text),
    yes("env", List(&Object(ENV))),
    yes("volumeMounts", List(&Object(EPHEMERAL_MOUNT))),
    yes("imagePullPolicy", Text),
    yes("securityContext", Object(CONTAINER_SECURITY_CONTEXT)),
    yes("stdin", Bool),
    yes("tty", Bool),
    only(
        "stdinOnce",
        Bool,
        is_false,
        "attach is not supported by this node",
    ),
    yes("targetContainerName", Text),
    yes("terminationMessagePath", Text),
    yes("terminationMessagePolicy", Text),
    only("envFrom", Foreign, is_empty, OBJECTS),
    only(
        "volumeDevices",
        Foreign,
        is_empty,
        "block devices are not supported by this node",
    ),
    no("ports", NOT_EPHEMERAL),
    no("resources", NOT_EPHEMERAL),
    no("resizePolicy", NOT_EPHEMERAL),
    no("restartPolicy", NOT_EPHEMERAL),
    no("restartPolicyRules", NOT_EPHEMERAL),
    no("livenessProbe", NOT_EPHEMERAL),
    no("readinessProbe", NOT_EPHEMERAL),
    no("startupProbe", NOT_EPHEMERAL),
    no("lifecycle", NOT_EPHEMERAL),
];
static EPHEMERAL_MOUNT: &[Field] = &[
    yes("name", Text),
    yes("mountPath", Text),
    yes("readOnly", Bool),
    yes("recursiveReadOnly", Text),
    yes("mountPropagation", Text),
    no("subPath", NOT_EPHEMERAL),
    no("subPathExpr", NOT_EPHEMERAL),
];

static READINESS_GATE: &[Field] = &[yes("conditionType", Text)];

static PROBE: &[Field] = &[
    yes("exec", Object(EXEC)),
    yes("httpGet", Object(HTTP_GET)),
    yes("tcpSocket", Object(TCP_SOCKET)),
    yes("grpc", Object(GRPC)),
    yes("initialDelaySeconds", Int32),
    yes("timeoutSeconds", Int32),
    yes("periodSeconds", Int32),
    yes("successThreshold", Int32),
    yes("failureThreshold", Int32),
    yes("terminationGracePeriodSeconds", Int64),
];
static EXEC: &[Field] = &[yes("command", List(&Text))];
static HTTP_GET: &[Field] = &[
    yes("path", Text),
    yes("port", IntOrName),
    yes("host", Text),
    yes("scheme", Text),
    yes("httpHeaders", List(&Object(HTTP_HEADER))),
];
static HTTP_HEADER: &[Field] = &[yes("name", Text), yes("value", Text)];
static TCP_SOCKET: &[Field] = &[yes("port", IntOrName), yes("host", Text)];
static GRPC: &[Field] = &[yes("port", Int32), yes("service", Text)];
static LIFECYCLE: &[Field] = &[
    yes("postStart", Object(HOOK)),
    yes("preStop", Object(HOOK)),
    yes("stopSignal", Text),
];
static HOOK: &[Field] = &[
    yes("exec", Object(EXEC)),
    yes("httpGet", Object(HTTP_GET)),
    yes("sleep", Object(SLEEP)),
    // The API server takes it, and a kubelet fails the hook when it comes to it.
    no("tcpSocket", "is deprecated, and no node carries it out"),
];
static SLEEP: &[Field] = &[yes("seconds", Int64)];

static RESTART_RULE: &[Field] = &[
    yes("action", Text),
    yes("exitCodes", Object(RESTART_EXIT_CODES)),
];
static RESTART_EXIT_CODES: &[Field] = &[yes("operator", Text), yes("values", List(&Int32))];

static ENV: &[Field] = &[
    yes("name", Text),
    yes("value", Text),
    yes("valueFrom", Object(ENV_SOURCE)),
];
static ENV_SOURCE: &[Field] = &[
    yes("fieldRef", Object(FIELD_REF)),
    yes("resourceFieldRef", Object(RESOURCE_FIELD_REF)),
    no("configMapKeyRef", OBJECTS),
    no("secretKeyRef", OBJECTS),
    no(
        "fileKeyRef",
        "files of variables are not supported by this node",
    ),
];
static FIELD_REF: &[Field] = &[
    only(
        "apiVersion",
        Text,
        |v| is(v, "v1") || is_empty(v),
        "must be \"v1\"",
    ),
    yes("fieldPath", Text),
];
static RESOURCE_FIELD_REF: &[Field] = &[
    yes("containerName", Text),
    yes("resource", Text),
    yes("divisor", Quantity),
];

static PORT: &[Field] = &[
    yes("name", Text),
    yes("containerPort", Int32),
    yes("hostPort", Int32),
    yes("hostIP", Text),
    yes("protocol", Text),
];

static RESOURCES: &[Field] = &[
    yes("requests", Map(&Quantity)),
    yes("limits", Map(&Quantity)),
    only(
        "claims",
        Foreign,
        is_empty,
        "a static pod may not reference resource claims",
    ),
];

static VOLUME_MOUNT: &[Field] = &[
    yes("name", Text),
    yes("mountPath", Text),
    yes("readOnly", Bool),
    yes("recursiveReadOnly", Text),
    yes("mountPropagation", Text),
    yes("subPath", Text),
    yes("subPathExpr", Text),
];

static VOLUME: &[Field] = &[
    yes("name", Text),
    yes("emptyDir", Object(EMPTY_DIR)),
    yes("hostPath", Object(HOST_PATH)),
    no("configMap", OBJECTS),
    no("secret", OBJECTS),
    no("projected", OBJECTS),
    no("downwardAPI", CLUSTER_VOLUME),
    no("persistentVolumeClaim", CLUSTER_VOLUME),
    no("ephemeral", CLUSTER_VOLUME),
    no("csi", CLUSTER_VOLUME),
    no("image", CLUSTER_VOLUME),
    no("nfs", CLUSTER_VOLUME),
    no("iscsi", CLUSTER_VOLUME),
    no("fc", CLUSTER_VOLUME),
    no(
        "gitRepo",
        "gitRepo volumes run git as root on content that others write, and are refused for good",
    ),
];
static EMPTY_DIR: &[Field] = &[yes("medium", Text), yes("sizeLimit", Quantity)];
static HOST_PATH: &[Field] = &[yes("path", Text), yes("type", Text)];
