//! Commits on the way.

use crate::bindings::progress::{Error, Failure, Host};
use crate::glue::convert;
use crate::host::CheckpointError;
use crate::log::{cut, inert};
use crate::state::State;
use sluice_model::limits::MAX_CURSOR_BYTES;

/// Bytes of a metric's name.
const METRIC: usize = 128;

impl Host for State {
    async fn checkpoint(&mut self, cursor: Option<String>) -> wasmtime::Result<Result<(), Error>> {
        let (host, meter) = self.enter("progress.checkpoint")?;
        if cursor.as_ref().is_some_and(|cursor| cursor.len() > MAX_CURSOR_BYTES) {
            return Ok(Err(Error::TooLarge(MAX_CURSOR_BYTES as u64)));
        }
        let answer = meter.host_time(host.checkpoint(cursor)).await;
        Ok(answer.map_err(|error| match error {
            CheckpointError::Cancelled => Error::Cancelled,
            CheckpointError::TooLarge(bytes) => Error::TooLarge(bytes),
            CheckpointError::Other(text) => Error::Other(text),
        }))
    }

    fn report(&mut self, done: u64, total: Option<u64>) -> wasmtime::Result<()> {
        self.enter("progress.report")?.0.report(done, total);
        Ok(())
    }

    fn problem(&mut self, failure: Failure, metric: Option<String>) -> wasmtime::Result<()> {
        let wanted = self.one_more_problem();
        let (host, _) = self.enter("progress.problem")?;
        if wanted {
            host.problem(convert::failure(failure), metric.map(|metric| inert(cut(&metric, METRIC))));
        }
        Ok(())
    }

    fn cancelled(&mut self) -> wasmtime::Result<bool> {
        Ok(self.enter("progress.cancelled")?.0.cancelled())
    }
}
