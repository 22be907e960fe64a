//! The prober: it asks the programs, and tells what has changed. What it tells may come when its container is gone.

use super::{Happening, MS, World, note};
use pod_lifecycle::Input;
use pod_model::{ContainerKey, PodUid, ProbeFailed, ProbeKind, Probed};
use std::collections::{BTreeMap, BTreeSet};

/// Of one agent.
#[derive(Debug, Default)]
pub(super) struct Prober {
    /// What is probed, and what was told of it last.
    asked: BTreeMap<(ContainerKey, ProbeKind), Option<bool>>,
    /// When the last answer about a container is told: the next is not told before it.
    told_at: BTreeMap<ContainerKey, u64>,
}

impl Prober {
    fn asks(&self, key: &ContainerKey, kind: ProbeKind) -> bool {
        self.asked.contains_key(&(key.clone(), kind))
    }
}

impl World<'_> {
    /// Takes over what is to be probed of a pod, as a prober does: by difference.
    pub(super) fn probe(&mut self, uid: &PodUid) {
        let Some(agent) = &mut self.agent else { return };
        let targets = match (agent.core.record(uid), agent.core.pod(uid)) {
            (Some(record), Some(pod)) => pod_lifecycle::targets(record, pod),
            _ => Vec::new(),
        };
        let wanted: BTreeSet<_> = targets
            .iter()
            .map(|target| (target.container.clone(), target.kind))
            .collect();
        let prober = &mut agent.prober;
        prober
            .asked
            .retain(|probe, _| probe.0.pod != *uid || wanted.contains(probe));
        let life = self.life;
        for target in targets {
            let (container, kind) = (target.container, target.kind);
            let Some(agent) = &mut self.agent else { return };
            let probe = (container.clone(), kind);
            if agent.prober.asked.contains_key(&probe) {
                continue;
            }
            agent.prober.asked.insert(probe, target.healthy);
            self.after(
                MS,
                Happening::ProbeDue {
                    life,
                    container,
                    kind,
                },
            );
        }
    }

    /// The program is asked, and asked again when its answer may be another.
    pub(super) fn probe_is_due(&mut self, key: ContainerKey, kind: ProbeKind) {
        let mono = self.now().mono;
        let Some(process) = self.kernel.processes.get(&key).filter(|p| p.lives()) else {
            return;
        };
        let age = mono.since(process.started.mono);
        let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        let (answer, again_at) = process.program.answer(kind, age_ms);
        let life = self.life;
        let Some(agent) = self.agent.as_mut().filter(|a| a.prober.asks(&key, kind)) else {
            return;
        };
        let told = agent.prober.asked.entry((key.clone(), kind)).or_default();
        let news = answer.filter(|healthy| *told != Some(*healthy));
        *told = news.or(*told);
        if let Some(healthy) = news {
            self.tell_probed(Probed {
                container: key.clone(),
                kind,
                healthy,
                message: "as the history says".to_owned(),
            });
        }
        if let Some(at_ms) = again_at {
            let container = key;
            let what = Happening::ProbeDue {
                life,
                container,
                kind,
            };
            self.after((at_ms - age_ms) * MS, what);
        }
    }

    fn tell_probed(&mut self, probed: Probed) {
        let life = self.life;
        let late = if self.is_bad_weather(self.history.weather.probe_late, "probe late") {
            self.chance("how late").pick(&[5, 500, 5_000, 70_000]) * MS
        } else {
            0
        };
        let Some(agent) = &mut self.agent else { return };
        let told_at = agent
            .prober
            .told_at
            .entry(probed.container.clone())
            .or_default();
        *told_at = (self.t + late).max(*told_at);
        let at = *told_at;
        self.schedule(at, Happening::Probed { life, probed });
    }

    /// One about what is not probed any more is handed on all the same: whoever hears it has to know.
    pub(super) fn probed(&mut self, probed: Probed) {
        let (key, kind, healthy) = (probed.container.clone(), probed.kind, probed.healthy);
        let asks = |agent: &super::agent::Agent| agent.prober.asks(&key, kind);
        let is_asked = self.agent.as_ref().is_some_and(asks);
        note!(
            self,
            "probed: {key} {kind} {healthy}{}",
            if is_asked { "" } else { ", too late" }
        );
        if is_asked {
            let attempt = self.truth.attempt(&key);
            match kind {
                ProbeKind::Readiness => attempt.known.fit = healthy,
                ProbeKind::Startup if healthy => attempt.known.passed = true,
                ProbeKind::Startup | ProbeKind::Liveness => {
                    attempt.failed = true;
                    attempt.sick = true;
                }
            }
        }
        if !healthy {
            self.input(Input::ProbeFailed(ProbeFailed {
                container: key.clone(),
                kind,
                message: probed.message.clone(),
            }));
        }
        self.input(Input::Probed(probed));
        if is_asked && !healthy && kind != ProbeKind::Readiness {
            self.judge_probe_told(&key);
        }
    }
}
