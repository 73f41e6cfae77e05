//! The attack pack, loaded and judged.

use super::TestHost;
use sluice_fixtures::attacks::all;
pub use sluice_fixtures::attacks::{Attack, End, Enter};
use sluice_model::Limits;
use sluice_sandbox::{CallError, Engine, Module, describe_limits};
use std::time::Duration;

/// An attack that is loaded.
pub struct Loaded {
    pub attack: Attack,
    pub module: Module,
}

/// Loads all of them into one engine.
pub async fn load(engine: &Engine) -> Vec<Loaded> {
    let mut out = Vec::new();
    for attack in all() {
        let module = engine.load(&attack.bytes).await.unwrap_or_else(|error| panic!("{}: {error}", attack.name));
        out.push(Loaded { attack, module });
    }
    out
}

/// How far past a limit an attack may get, in CPU time or by the clock.
const PAST_MS: u64 = 1_000;

/// What became of one run of it.
pub struct Ended {
    pub error: Option<CallError>,
    pub cpu_ms: u64,
    pub wall_ms: u64,
    pub memory_bytes: u64,
    pub log_bytes: usize,
    pub text: String,
}

impl Loaded {
    pub async fn run(&self, limits: &Limits) -> Ended {
        let host = Box::new(TestHost { delay: self.attack.delay, ..TestHost::default() });
        match self.attack.enter {
            Enter::Describe => {
                let (said, usage) = self.module.described().await;
                let error = said.err();
                let text = error.as_ref().map(ToString::to_string).unwrap_or_default();
                let (cpu_ms, wall_ms, memory_bytes) = (usage.cpu_ms, usage.wall_ms, usage.memory_bytes);
                Ended { error, cpu_ms, wall_ms, memory_bytes, log_bytes: 0, text }
            }
            Enter::Identify => ended(self.module.identify(host, limits).await),
            Enter::Sync => ended(self.module.sync(host, limits).await),
        }
    }

    /// What holds for it: `describe` has limits that nobody sets.
    fn limits(&self) -> Limits {
        if self.attack.enter == Enter::Describe { describe_limits() } else { self.attack.limits.clone() }
    }

    /// Whether it ended as it must, on a machine that was so late meanwhile, and why not.
    pub fn judge(&self, ended: &Ended, late: Duration) -> Result<(), String> {
        let name = self.attack.name;
        let limits = self.limits();
        let right = match (&self.attack.end, &ended.error) {
            (End::Limit(wanted), Some(CallError::Limit { name, limit, used })) => name == wanted && used >= limit,
            (End::Crash(words), Some(CallError::Trap { message, .. })) => message.contains(words),
            (End::Changing, Some(CallError::Changing)) => true,
            _ => false,
        };
        if !right {
            return Err(format!("{name}: {:?} instead of {:?}", ended.error, self.attack.end));
        }
        // CPU time is the same on a machine that has other things to do. Time by the clock is not: as long as a plain sleep was kept waiting
        // meanwhile, the end of an attack may have been, and nothing of this program could have hastened it.
        let late = u64::try_from(late.as_millis()).unwrap();
        if ended.cpu_ms > limits.cpu_ms + PAST_MS || ended.wall_ms > limits.wall_ms + PAST_MS + late {
            return Err(format!(
                "{name}: it went on for {} ms of CPU, {} ms in all; the machine was {late} ms late",
                ended.cpu_ms, ended.wall_ms
            ));
        }
        if ended.memory_bytes > limits.memory_bytes {
            return Err(format!("{name}: it had {} bytes", ended.memory_bytes));
        }
        if ended.log_bytes as u64 > limits.log_bytes + 200 {
            return Err(format!("{name}: {} bytes of log", ended.log_bytes));
        }
        Ok(())
    }
}

fn ended<T>(report: sluice_sandbox::Report<T>) -> Ended {
    Ended {
        text: report.for_author().unwrap_or_default(),
        cpu_ms: report.usage.cpu_ms,
        wall_ms: report.usage.wall_ms,
        memory_bytes: report.usage.memory_bytes,
        log_bytes: report.log.iter().map(|line| line.text.len()).sum(),
        error: report.result.err(),
    }
}
