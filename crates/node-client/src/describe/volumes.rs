//! The volumes of a description: those kinds that this node can mount.

use k8s_openapi::api::core::v1::Volume;
use std::fmt::Write;

pub(super) fn describe(out: &mut String, volumes: &[Volume]) {
    if volumes.is_empty() {
        out.push_str("Volumes:\t<none>\n");
        return;
    }
    out.push_str("Volumes:\n");
    for volume in volumes {
        let _ = writeln!(out, "  {}:", volume.name);
        let mut line = |name: &str, value: &str| {
            let _ = writeln!(out, "    {name}:\t{value}");
        };
        if let Some(host) = &volume.host_path {
            line("Type", "HostPath (bare host directory volume)");
            line("Path", &host.path);
            line("HostPathType", host.type_.as_deref().unwrap_or_default());
        } else if let Some(empty) = &volume.empty_dir {
            line(
                "Type",
                "EmptyDir (a temporary directory that shares a pod's lifetime)",
            );
            line("Medium", empty.medium.as_deref().unwrap_or_default());
            let limit = empty.size_limit.as_ref().map_or("<unset>", |q| &q.0);
            line("SizeLimit", limit);
        } else if let Some(secret) = &volume.secret {
            line("Type", "Secret (a volume populated by a Secret)");
            line(
                "SecretName",
                secret.secret_name.as_deref().unwrap_or_default(),
            );
            line("Optional", &secret.optional.unwrap_or(false).to_string());
        } else if let Some(map) = &volume.config_map {
            line("Type", "ConfigMap (a volume populated by a ConfigMap)");
            line("Name", &map.name);
            line("Optional", &map.optional.unwrap_or(false).to_string());
        } else if volume.projected.is_some() {
            line(
                "Type",
                "Projected (a volume that contains injected data from multiple sources)",
            );
        } else {
            out.push_str("  <unknown>\n");
        }
    }
}
