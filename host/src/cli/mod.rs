//! The command line: one file for each command, each a thin asker of the control API.
//!
//! Exit codes: 0 done; 1 done, and the answer is a no (a run failed, the gate denies); 2 it could not be done, and the last line says why. Every
//! command that prints a table takes `--json`.

mod apps;
mod audit;
pub(crate) mod compile;
mod compiling;
mod connect;
mod connections;
mod doctor;
mod entries;
mod gate;
mod modules;
mod owner_link;
mod run;
mod runs;
mod serve;
mod table;
mod terminal;

use crate::{
    config::{self, Config, Overrides},
    control::ClientError,
};
use clap::{Args, Parser, Subcommand};
use std::{path::PathBuf, process::ExitCode};

/// Collects your own data from the services that hold it.
#[derive(Parser)]
#[command(name = "sluice", version, about, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    host: HostArgs,
    #[command(subcommand)]
    command: Command,
}

/// Where the host is; the same for every command.
#[derive(Args)]
pub struct HostArgs {
    /// The operator's file; a missing one is as good as an empty one.
    #[arg(long, global = true, env = "SLUICE_CONFIG", default_value = "plugins.toml")]
    config: PathBuf,
    /// The database and the command socket [default: data, beside the file].
    #[arg(long, global = true, env = "SLUICE_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// Where the pages are served [default: 127.0.0.1:8642].
    #[arg(long, global = true, env = "SLUICE_LISTEN")]
    listen: Option<String>,
    /// The one source of every redirect and page address [default: from --listen].
    #[arg(long, global = true, env = "SLUICE_PUBLIC_URL")]
    public_url: Option<String>,
    /// The folder of connector files [default: dist/connectors, beside the file].
    #[arg(long, global = true, env = "SLUICE_MODULES")]
    modules: Option<PathBuf>,
    /// The host key, outside the data folder [default: in your configuration folder].
    #[arg(long, global = true, env = "SLUICE_KEY_FILE")]
    key_file: Option<PathBuf>,
    /// Certificate authorities of your own (PEM), believed beside the machine's.
    #[arg(long, global = true, env = "SLUICE_CA_FILE")]
    ca_file: Option<PathBuf>,
    /// How many syncs go on at once [default: 16].
    #[arg(long, global = true, env = "SLUICE_CONCURRENT_RUNS")]
    concurrent_runs: Option<u32>,
    /// Proxies whose X-Forwarded-For is believed, separated by commas.
    #[arg(long, global = true, env = "SLUICE_TRUSTED_PROXIES", value_delimiter = ',', value_name = "IP,…")]
    trusted_proxies: Option<Vec<String>>,
}

#[derive(Subcommand)]
enum Command {
    /// Run the host: pages, schedule, connectors.
    Serve(serve::ServeArgs),
    /// Link an account.
    Connect(connect::ConnectArgs),
    /// Sync now, and wait for it.
    Run(run::RunArgs),
    /// Stop runs that go on: what they committed stays, and they come again on schedule.
    Stop(runs::StopArgs),
    /// List the latest runs.
    Runs(runs::RunsArgs),
    /// Show what was collected.
    Entries(entries::EntriesArgs),
    /// List the linked accounts.
    Connections(connections::ConnectionsArgs),
    /// Leave an account: its keys are destroyed, its data stays or goes.
    Disconnect(connections::DisconnectArgs),
    /// Registrations at providers: which are paused, and letting them go on.
    #[command(subcommand)]
    Apps(apps::AppsCommand),
    /// The connector files.
    #[command(subcommand)]
    Modules(modules::ModulesCommand),
    /// Who did what: sign-ins, linked and left accounts, decisions about connectors.
    Audit(audit::AuditArgs),
    /// The way out.
    #[command(subcommand)]
    Gate(gate::GateCommand),
    /// Look at machine, folders, key, connectors and host; writes nothing. Exit code 1 where there is a problem.
    Doctor(doctor::DoctorArgs),
    /// Print a one-time link that sets the owner's password.
    OwnerLink(owner_link::OwnerLinkArgs),
    /// Compile one connector within limits; a host starts this itself.
    #[command(hide = true)]
    CompileChild,
}

/// A command that could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The settings.
    #[error(transparent)]
    Config(#[from] config::ConfigError),
    /// The host.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The terminal, a file, a socket.
    #[error("{0}: {1}")]
    Io(&'static str, std::io::Error),
    /// What was asked makes no sense, and what would.
    #[error("{0}")]
    Usage(String),
}

impl HostArgs {
    fn load(&self) -> Result<Config, config::ConfigError> {
        let overrides = Overrides {
            data_dir: self.data_dir.clone(),
            listen: self.listen.clone(),
            public_url: self.public_url.clone(),
            modules: self.modules.clone(),
            key_file: self.key_file.clone(),
            ca_file: self.ca_file.clone(),
            concurrent_runs: self.concurrent_runs,
            trusted_proxies: self.trusted_proxies.clone(),
        };
        let must_exist = self.config.as_os_str() != "plugins.toml";
        config::load(&self.config, must_exist, &overrides)
    }
}

/// Reads the command line and carries it out.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    if matches!(cli.command, Command::CompileChild) {
        return compile::run();
    }
    compile::this_is_sluice();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("sluice: the runtime cannot start: {error}");
            return ExitCode::from(2);
        }
    };
    let code = runtime.block_on(dispatch(cli));
    // A blocking read of a terminal must not keep the process.
    runtime.shutdown_background();
    code
}

async fn dispatch(cli: Cli) -> ExitCode {
    let serving = matches!(cli.command, Command::Serve(_));
    terminal::start_log(serving);
    let result = async {
        let config = cli.host.load();
        match cli.command {
            Command::Serve(args) => serve::run(args, config?).await,
            Command::Connect(args) => connect::run(args, config?).await,
            Command::Run(args) => run::run(args, config?).await,
            Command::Stop(args) => runs::stop(args, config?).await,
            Command::Runs(args) => runs::run(args, config?).await,
            Command::Entries(args) => entries::run(args, config?).await,
            Command::Connections(args) => connections::list(args, config?).await,
            Command::Disconnect(args) => connections::disconnect(args, config?).await,
            Command::Apps(command) => apps::run(command, config?).await,
            Command::Modules(command) => modules::run(command, config?).await,
            Command::Audit(args) => audit::run(args, config?).await,
            Command::Gate(command) => gate::run(command, config?).await,
            // Wrong settings are something to find for this one.
            Command::Doctor(args) => doctor::run(args, config).await,
            Command::OwnerLink(args) => owner_link::run(args, config?).await,
            Command::CompileChild => Ok(compile::run()),
        }
    };
    match result.await {
        Ok(code) => code,
        Err(error) => {
            // Next steps stand on lines of their own; what came from outside is none of them.
            let lines: Vec<String> = error.to_string().lines().map(|line| terminal::inert(&line.replace('\t', " "))).collect();
            eprintln!("sluice: {}", lines.join("\n"));
            ExitCode::from(2)
        }
    }
}

type Outcome = Result<ExitCode, CliError>;

/// Prints any answer for programs.
fn print_json<T: serde::Serialize>(value: &T) -> Result<(), CliError> {
    let text = serde_json::to_string_pretty(value).map_err(|e| CliError::Usage(e.to_string()))?;
    terminal::print(&text)
}
