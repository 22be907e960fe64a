//! What can never be, whatever the input.

use super::*;
use proptest::prelude::*;

proptest! {
    #[test]
    fn no_label_and_no_annotation_changes_the_plan(
        notes in prop::collection::btree_map("[a-z./-]{1,40}", ".{0,60}", 0..20),
        labels in prop::collection::btree_map("[a-z./-]{1,40}", "[a-zA-Z0-9._-]{0,60}", 0..20),
    ) {
        let known = [
            "container.seccomp.security.alpha.kubernetes.io/c", "seccomp.security.alpha.kubernetes.io/pod",
            "container.apparmor.security.beta.kubernetes.io/c", "io.kubernetes.cri-o.Devices", "run.oci.handler",
            "io.containers.capabilities", "cdi.k8s.io/x", "io.kubernetes.cri.untrusted-workload",
        ];
        let bare = pod(json!({}), json!({})).map_err(|e| TestCaseError::fail(e.to_string()))?;
        let mut noted = bare.pod().clone();
        let mut notes = notes;
        for name in known {
            notes.insert(name.to_owned(), "unconfined".to_owned());
        }
        noted.metadata.annotations = Some(notes);
        noted.metadata.labels = Some(labels);
        let noted = AdmittedPod::from_validated(noted, bare.qos()).map_err(|e| TestCaseError::fail(e.to_string()))?;
        let world = world();
        let plan_of = |p: &AdmittedPod| planned(p, &world).map_err(|e| TestCaseError::fail(e.to_string()));
        prop_assert_eq!(plan_of(&bare)?, plan_of(&noted)?);
    }

    #[test]
    fn an_images_labels_never_reach_the_plan(
        labels in prop::collection::hash_map("[a-z./-]{1,40}", ".{0,60}", 0..20),
    ) {
        let of = |labels: Value| -> Result<FromTenant<ImageConfig>, TestCaseError> {
            let config: oci_spec::image::Config = serde_json::from_value(json!({
                "Entrypoint": ["/a"], "Env": ["A=b"], "User": "1000", "WorkingDir": "/w", "StopSignal": "SIGQUIT",
                "Labels": labels, "Volumes": {"/../../etc": {}}, "ExposedPorts": {"80/tcp": {}},
            })).map_err(|e| TestCaseError::fail(e.to_string()))?;
            Ok(ImageConfig::from_oci(&config))
        };
        prop_assert_eq!(of(json!(labels))?, of(json!({}))?);
    }

    #[test]
    fn any_user_files_and_any_user_are_answered(
        user in ".{0,40}", passwd in prop::collection::vec(any::<u8>(), 0..400), group in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        let mut world = world();
        world.image.config = FromTenant::new(ImageConfig { entrypoint: vec!["/a".to_owned()], user, ..ImageConfig::default() });
        world.image.passwd = Some(FromTenant::new(passwd));
        world.image.group = Some(FromTenant::new(group));
        let pod = pod(json!({}), json!({})).map_err(|e| TestCaseError::fail(e.to_string()))?;
        if let Ok(plan) = planned(&pod, &world) {
            prop_assert!(plan.description.process.uid <= 2_147_483_647);
        }
    }
}
