//! Recording. What the manifest says of a metric is checked by whoever holds the manifest; here it is only that days are days.

use crate::bindings::entries::{Entry, Error, Host, Moment, Rejection};
use crate::call;
use crate::glue::convert;
use crate::host::RecordError;
use crate::log::{cut, inert};
use crate::state::State;

/// Bytes of a metric's name, a series' key or an entry's id, where they come outside an entry.
const NAME: usize = 512;
/// Rejections that are given back in one answer: enough to see what is wrong.
const REJECTIONS: usize = 1000;
/// Bytes of the reason that is kept for the lines after a crash.
const REASON: usize = 300;

impl Host for State {
    fn record_entry(&mut self, entry: Entry) -> wasmtime::Result<Result<(), Error>> {
        self.record("entries.record-entry", vec![entry])
    }

    fn record_entries(&mut self, entries: Vec<Entry>) -> wasmtime::Result<Result<(), Error>> {
        self.record("entries.record-entries", entries)
    }

    fn replace_window(
        &mut self,
        metric: String,
        series: Option<String>,
        first: Moment,
        past: Moment,
        entries: Vec<Entry>,
    ) -> wasmtime::Result<Result<(), Error>> {
        let recording = self.entry == call::Entry::Sync;
        let (host, _) = self.enter("entries.replace-window")?;
        let outcome = (|| {
            may_record(recording)?;
            short(&[&metric, series.as_deref().unwrap_or_default()])?;
            let first = convert::moment(first).map_err(Error::Other)?;
            let past = convert::moment(past).map_err(Error::Other)?;
            let entries = convert::entries(entries).map_err(rejected)?;
            host.replace_window(&metric, series.as_deref(), first, past, entries).map_err(error)
        })();
        Ok(self.noted(outcome))
    }

    fn retract(&mut self, metric: String, id: String) -> wasmtime::Result<Result<(), Error>> {
        let recording = self.entry == call::Entry::Sync;
        let (host, _) = self.enter("entries.retract")?;
        Ok((|| {
            may_record(recording)?;
            short(&[&metric, &id])?;
            host.retract(&metric, &id).map_err(error)
        })())
    }

    fn label_series(&mut self, metric: String, series: String, label: String) -> wasmtime::Result<()> {
        let recording = self.entry == call::Entry::Sync;
        let (host, _) = self.enter("entries.label-series")?;
        if recording && short(&[&metric, &series]).is_ok() {
            host.label_series(&metric, &series, &convert::label(&label));
        }
        Ok(())
    }
}

impl State {
    fn record(&mut self, function: &'static str, entries: Vec<Entry>) -> wasmtime::Result<Result<(), Error>> {
        let recording = self.entry == call::Entry::Sync;
        let (host, _) = self.enter(function)?;
        let outcome = (|| {
            may_record(recording)?;
            let entries = convert::entries(entries).map_err(rejected)?;
            if entries.is_empty() { Ok(()) } else { host.record(entries).map_err(error) }
        })();
        Ok(self.noted(outcome))
    }

    /// Keeps why entries were refused: a connector that crashes over it seldom says so itself.
    fn noted(&mut self, outcome: Result<(), Error>) -> Result<(), Error> {
        if let Err(Error::Rejected(list)) = &outcome
            && let Some(first) = list.first()
        {
            let why = cut(&first.why, REASON);
            self.rejected = Some(format!("entries that the host refused last: {}, the first (index {}): {why}", list.len(), first.index));
        }
        outcome
    }
}

fn may_record(recording: bool) -> Result<(), Error> {
    if recording { Ok(()) } else { Err(Error::Other("nothing can be recorded while identifying: do it in `sync`".into())) }
}

fn short(names: &[&str]) -> Result<(), Error> {
    if names.iter().all(|name| name.len() <= NAME) {
        Ok(())
    } else {
        Err(Error::Other("a metric's name, a series' key or an id is over 512 bytes long".into()))
    }
}

fn rejected(list: Vec<(u32, String)>) -> Error {
    Error::Rejected(list.into_iter().take(REJECTIONS).map(|(index, why)| Rejection { index, why: inert(&why) }).collect())
}

fn error(error: RecordError) -> Error {
    match error {
        RecordError::Rejected(list) => rejected(list),
        RecordError::TooMany(limit) => Error::TooMany(limit),
        RecordError::Other(text) => Error::Other(text),
    }
}
