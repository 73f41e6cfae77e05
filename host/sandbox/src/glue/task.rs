//! What a call is for.

use crate::bindings::task::{Host, Moment};
use crate::glue::convert::moment_out;
use crate::state::State;

impl Host for State {
    fn reason(&mut self) -> wasmtime::Result<String> {
        Ok(self.enter("task.reason")?.0.task().reason.as_str().to_owned())
    }

    fn now(&mut self) -> wasmtime::Result<i64> {
        Ok(self.enter("task.now")?.0.now())
    }

    fn time_zone(&mut self) -> wasmtime::Result<String> {
        Ok(self.enter("task.time-zone")?.0.task().time_zone.clone())
    }

    fn cursor(&mut self) -> wasmtime::Result<Option<String>> {
        Ok(self.enter("task.cursor")?.0.task().cursor.clone())
    }

    fn cursor_version(&mut self) -> wasmtime::Result<Option<String>> {
        Ok(self.enter("task.cursor-version")?.0.task().cursor_version.clone())
    }

    fn window(&mut self) -> wasmtime::Result<Option<(Moment, Moment)>> {
        let window = self.enter("task.window")?.0.task().window;
        Ok(window.map(|(first, past)| (moment_out(first), moment_out(past))))
    }

    fn profile(&mut self) -> wasmtime::Result<String> {
        Ok(self.enter("task.profile")?.0.task().profile.clone())
    }

    fn account_id(&mut self) -> wasmtime::Result<Option<String>> {
        Ok(self.enter("task.account-id")?.0.task().account_id.clone())
    }

    fn scopes(&mut self) -> wasmtime::Result<Vec<String>> {
        Ok(self.enter("task.scopes")?.0.task().scopes.clone())
    }

    fn setting(&mut self, name: String) -> wasmtime::Result<Option<String>> {
        let (host, _) = self.enter("task.setting")?;
        Ok(host.task().settings.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone()))
    }

    fn hook_url(&mut self, _name: String) -> wasmtime::Result<Option<String>> {
        // This host takes no pushes yet: as the contract says, none.
        self.enter("task.hook-url")?;
        Ok(None)
    }
}
