//! The status as the API prints it.

use std::time::Duration;
use test_kit::{Program, World, pod};

fn json(world: &World, web: &pod_model::AdmittedPod) -> serde_json::Value {
    serde_json::to_value(world.status(web)).unwrap()
}

#[test]
fn the_whole_status_of_a_running_pod() {
    let mut world = World::default();
    world.machine.script.program(
        "setup",
        [Program::exits(0).after(Duration::from_millis(1_500))],
    );
    let web = pod("web")
        .generation(3)
        .init("setup")
        .container("app")
        .request("cpu", "100m")
        .limit("memory", "64Mi")
        .mount("data", "/data")
        .configure(|c| c.volume_mounts.as_mut().unwrap()[0].read_only = Some(true))
        .build();
    world.desire(&web);
    world.run_secs(3);
    let digest = |name: &str| {
        let key = world.key(&web, name, 0);
        let made = world
            .core()
            .record(web.uid())
            .unwrap()
            .container(&key.name)
            .unwrap()
            .made
            .clone()
            .unwrap();
        (key.id().uri(), made.image_id)
    };
    let ((setup_id, setup_image), (app_id, app_image)) = (digest("setup"), digest("app"));
    assert!(setup_image.starts_with("registry.test/setup@sha256:"));
    let condition = |type_: &str, at: &str| serde_json::json!({ "type": type_, "status": "True", "lastTransitionTime": at, "observedGeneration": 3 });
    assert_eq!(
        json(&world, &web),
        serde_json::json!({
            "phase": "Running",
            "observedGeneration": 3,
            "conditions": [
                condition("PodReadyToStartContainers", "2026-01-01T00:00:00Z"),
                condition("Initialized", "2026-01-01T00:00:01Z"),
                condition("Ready", "2026-01-01T00:00:01Z"),
                condition("ContainersReady", "2026-01-01T00:00:01Z"),
                condition("PodScheduled", "2026-01-01T00:00:00Z"),
            ],
            "hostIP": "192.0.2.1",
            "hostIPs": [{ "ip": "192.0.2.1" }],
            "podIP": "10.88.0.1",
            "podIPs": [{ "ip": "10.88.0.1" }],
            "startTime": "2026-01-01T00:00:00Z",
            "qosClass": "Burstable",
            "initContainerStatuses": [{
                "name": "setup",
                "image": "registry.test/setup:1",
                "imageID": setup_image,
                "containerID": setup_id,
                "ready": true,
                "started": false,
                "restartCount": 0,
                "resources": {},
                "user": { "linux": { "uid": 1000, "gid": 100, "supplementalGroups": [100, 101] } },
                "stopSignal": "SIGTERM",
                "lastState": {},
                "state": { "terminated": {
                    "exitCode": 0,
                    "reason": "Completed",
                    "startedAt": "2026-01-01T00:00:00Z",
                    "finishedAt": "2026-01-01T00:00:01Z",
                    "containerID": setup_id,
                } },
            }],
            "containerStatuses": [{
                "name": "app",
                "image": "registry.test/app:1",
                "imageID": app_image,
                "containerID": app_id,
                "ready": true,
                "started": true,
                "restartCount": 0,
                "user": { "linux": { "uid": 1000, "gid": 100, "supplementalGroups": [100, 101] } },
                "stopSignal": "SIGTERM",
                "resources": { "requests": { "cpu": "100m", "memory": "64Mi" }, "limits": { "memory": "64Mi" } },
                "allocatedResources": { "cpu": "100m", "memory": "64Mi" },
                "volumeMounts": [{ "name": "data", "mountPath": "/data", "readOnly": true, "recursiveReadOnly": "Disabled" }],
                "lastState": {},
                "state": { "running": { "startedAt": "2026-01-01T00:00:01Z" } },
            }],
        })
    );
}

#[test]
fn conditions_name_the_containers_that_are_not_ready() {
    let mut world = World::default();
    world
        .machine
        .script
        .program("setup", [Program::exits(0).after(Duration::from_secs(5))]);
    world.machine.script.program("bad", [Program::exits(1)]);
    let web = pod("web")
        .init("setup")
        .container("good")
        .container("bad")
        .build();
    world.desire(&web);
    let text = |world: &World, type_: &str| {
        let c = world.condition(&web, type_);
        format!(
            "{} {} {}",
            c.status,
            c.reason.unwrap_or_default(),
            c.message.unwrap_or_default()
        )
    };
    assert_eq!(
        text(&world, "Initialized"),
        "False ContainersNotInitialized containers with incomplete status: [setup]"
    );
    assert_eq!(
        text(&world, "Ready"),
        "False ContainersNotReady containers with unready status: [good bad]"
    );
    assert_eq!(
        text(&world, "ContainersReady"),
        "False ContainersNotReady containers with unready status: [good bad]"
    );
    assert_eq!(text(&world, "PodReadyToStartContainers"), "True  ");
    world.run_secs(5);
    assert_eq!(text(&world, "Initialized"), "True  ");
    assert_eq!(
        text(&world, "Ready"),
        "False ContainersNotReady containers with unready status: [bad]"
    );
}

#[test]
fn conditions_of_a_pod_that_is_over() {
    for (code, ready, initialized) in [(0, "PodCompleted", "PodCompleted"), (1, "PodFailed", "")] {
        let mut world = World::default();
        world.machine.script.program("app", [Program::exits(code)]);
        let job = pod("job").container("app").never().build();
        world.desire(&job);
        let reason = |type_: &str| world.condition(&job, type_).reason.unwrap_or_default();
        assert_eq!(reason("Ready"), ready);
        assert_eq!(reason("ContainersReady"), ready);
        assert_eq!(reason("Initialized"), initialized);
        assert_eq!(world.condition(&job, "Ready").status, "False");
        assert_eq!(
            world.condition(&job, "PodReadyToStartContainers").status,
            "False",
            "its sandbox is gone"
        );
        assert_eq!(
            world.status(&job).pod_ip.as_deref(),
            Some("10.88.0.1"),
            "its address stays to be read"
        );
    }
}

#[test]
fn a_transition_time_changes_only_with_its_condition() {
    let mut world = World::default();
    world.machine.script.program(
        "app",
        [
            Program::exits(1).after(Duration::from_secs(100)),
            Program::runs(),
        ],
    );
    let web = pod("web").container("app").build();
    world.desire(&web);
    let since = |world: &World, type_: &str| {
        serde_json::to_value(world.condition(&web, type_).last_transition_time).unwrap()
    };
    let (ready, scheduled) = (since(&world, "Ready"), since(&world, "PodScheduled"));
    world.run_secs(99);
    assert_eq!(since(&world, "Ready"), ready);
    world.run_secs(1);
    // it restarted at once: not ready for an instant, and ready again
    assert_eq!(
        since(&world, "Ready"),
        serde_json::json!("2026-01-01T00:01:40Z")
    );
    assert_eq!(since(&world, "PodScheduled"), scheduled);
}

#[test]
fn main_containers_are_listed_by_name_and_init_containers_in_order() {
    let mut world = World::default();
    let web = pod("web")
        .init("z")
        .init("a")
        .container("y")
        .container("b")
        .build();
    world.desire(&web);
    assert_eq!(
        world.line(&web),
        "Pending z=Running a=PodInitializing b=PodInitializing y=PodInitializing"
    );
}

#[test]
fn a_container_id_belongs_to_the_attempt() {
    let mut world = World::default();
    world.machine.script.program(
        "app",
        [
            Program::exits(1).after(Duration::from_secs(1)),
            Program::runs(),
        ],
    );
    let web = pod("web").container("app").build();
    world.desire(&web);
    world.run_secs(1);
    let status = world.status(&web).container_statuses.unwrap().remove(0);
    assert_eq!(
        status.container_id,
        Some(world.key(&web, "app", 1).id().uri())
    );
    let last = status.last_state.unwrap().terminated.unwrap();
    assert_eq!(
        last.container_id,
        Some(world.key(&web, "app", 0).id().uri())
    );
}

#[test]
fn a_record_stays_small() {
    let mut world = World::default();
    world.machine.script.program("app", [Program::exits(1)]);
    let web = pod("web")
        .init("setup")
        .container("app")
        .container("side")
        .build();
    world.machine.script.program("setup", [Program::exits(0)]);
    world.desire(&web);
    world.run_secs(100_000);
    let record = world.core().record(web.uid()).unwrap();
    let bytes = serde_json::to_vec(record).unwrap().len();
    assert!(bytes < 6_000, "{bytes} bytes after 300 restarts");
}

#[test]
fn the_last_words_of_a_program_are_the_message_of_its_end() {
    let mut world = World::default();
    let program = |code| Program::exits(code).after(Duration::from_secs(1));
    world.machine.script.program(
        "app",
        [
            program(1).says("first"),
            program(1).says(""),
            Program::runs().says("not yet"),
        ],
    );
    let web = pod("web").container("app").build();
    let message = |world: &World, state: &str| {
        let status = json(world, &web)["containerStatuses"][0][state]["terminated"].take();
        status["message"].as_str().map(str::to_owned)
    };
    world.desire(&web);
    world.run_secs(1);
    assert_eq!(message(&world, "lastState").as_deref(), Some("first"));
    world.run_secs(1);
    assert_eq!(message(&world, "state"), None, "an empty file says nothing");
    world.run_secs(10);
    assert!(world.line(&web).starts_with("Running app=Running"));
    assert_eq!(message(&world, "state"), None, "it runs");
}

#[test]
fn last_words_that_were_told_to_nobody_are_found_by_a_look() {
    let mut world = World::default();
    let program = Program::exits(3).after(Duration::from_secs(1)).says("why");
    world.machine.script.program("app", [program]);
    let web = pod("web").container("app").never().build();
    world.desire(&web);
    world.exits_are_told = false;
    world.run_secs(1);
    world.look();
    let status = json(&world, &web);
    let ended = &status["containerStatuses"][0]["state"]["terminated"];
    assert_eq!(ended["message"], "why");
}

#[test]
fn the_containers_of_a_pod_share_12_kib_of_messages() {
    for (containers, each) in [(1, 4096), (3, 4096), (4, 3072), (12, 1024)] {
        let mut world = World::default();
        // 4,098 bytes; a character is not cut in two
        let says = "é".repeat(2_049);
        let mut web = pod("web").never();
        for n in 0..containers {
            let name = format!("c{n}");
            world
                .machine
                .script
                .program(&name, [Program::exits(1).says(&says)]);
            web = web.container(&name);
        }
        let web = web.build();
        world.desire(&web);
        for status in json(&world, &web)["containerStatuses"].as_array().unwrap() {
            let message = status["state"]["terminated"]["message"].as_str().unwrap();
            assert_eq!(message.len(), each, "{containers} containers");
        }
    }
}

#[test]
fn a_container_says_as_whom_it_runs_and_how_it_is_asked_to_stop() {
    let mut world = World::default();
    let web = pod("web").container("app").build();
    let hang = |a: &pod_model::Action| matches!(a, pod_model::Action::Start { .. });
    world.machine.script.hangs(hang);
    world.desire(&web);
    let container = |world: &World| world.status(&web).container_statuses.unwrap().remove(0);
    let waiting = container(&world);
    assert_eq!((waiting.user, waiting.stop_signal), (None, None));
    world.mend();
    for _ in 0..2 {
        let running = container(&world);
        let user = running.user.and_then(|user| user.linux).unwrap();
        assert_eq!((user.uid, user.gid), (1000, 100));
        assert_eq!(user.supplemental_groups, Some(vec![100, 101]));
        assert_eq!(running.stop_signal.as_deref(), Some("SIGTERM"));
        // what the record holds, the next agent says too
        world.crash(test_kit::Crash::BeforeEffects);
        world.recover();
    }
}
