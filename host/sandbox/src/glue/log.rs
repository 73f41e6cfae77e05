//! Lines of the connector's own.

use crate::bindings::log::{Host, Level};
use crate::log;
use crate::state::State;

impl Host for State {
    fn write(&mut self, level: Level, message: String) -> wasmtime::Result<()> {
        let now = self.enter("log.write")?.0.now();
        let level = match level {
            Level::Trace => log::Level::Trace,
            Level::Debug => log::Level::Debug,
            Level::Info => log::Level::Info,
            Level::Warn => log::Level::Warn,
            Level::Error => log::Level::Error,
        };
        self.log.write(now, level, &message);
        Ok(())
    }
}
