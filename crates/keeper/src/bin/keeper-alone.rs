//! A keeper without the rest of coracle: `keeper-alone RUN_DIR [CGROUP_DIR…]`. The tests of this crate start it; nobody installs it.

use keeper::{KeeperConfig, run};
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let Some(run_dir) = arguments.next() else {
        return ExitCode::from(2);
    };
    let config = KeeperConfig {
        run_dir: run_dir.into(),
        cgroups: arguments.map(Into::into).collect(),
    };
    match run(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            let mut text = format!("{e}");
            let mut source = std::error::Error::source(&e);
            while let Some(e) = source {
                text = format!("{text}: {e}");
                source = e.source();
            }
            let _ =
                std::io::Write::write_all(&mut std::io::stderr(), format!("{text}\n").as_bytes());
            ExitCode::FAILURE
        }
    }
}
