//! `rosterd practice-tenant`: a simulated tenant alone, to rehearse a configuration against.
//!
//! It starts the tenant, prints what to put into `rosterd.toml`, and waits for Ctrl-C or SIGTERM.

use std::fmt::Write as _;
use std::io::Write as _;

use std::time::Duration;

use anyhow::Context;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::Exit;
use crate::clock::Clock;
use crate::plan::Mapping;
use crate::practice::{self, BulkMode, Faults, Options, Practice};

/// Start a simulated tenant on 127.0.0.1, to rehearse a configuration against
#[derive(Args, Clone, Debug)]
pub struct PracticeTenantArgs {
    /// Port to listen on; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// How many users it has
    #[arg(long, default_value_t = 500)]
    pub users: usize,
    /// Calls a second that it allows; without it there is no limit
    #[arg(long, value_parser = rate)]
    pub rate: Option<f64>,
    /// Calls at once that it allows after a quiet time
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub burst: u32,
    /// How long a token is valid
    #[arg(long, default_value = "1h", value_parser = humantime::parse_duration)]
    pub token_lifetime: Duration,
    /// The most users on a page
    #[arg(long, default_value_t = 100, value_parser = at_least_one)]
    pub page_cap: usize,
    /// Users, ids and faults follow from it
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How bulk requests are answered: jobs (a job id to ask for), rfc7644 (results at once) or off (501)
    #[arg(long, value_name = "MODE", default_value = "jobs")]
    pub bulk: BulkMode,
    /// How often a bulk job has to be asked for until it is done
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub bulk_polls: u32,
    /// The most operations in a bulk request
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = at_least_one)]
    pub bulk_max_operations: usize,
    /// The longest body of a bulk request, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20, value_parser = at_least_one)]
    pub bulk_max_payload: usize,
    /// The keys that custom attributes can have, separated by commas; without it they can have any
    #[arg(long, value_name = "KEYS", value_delimiter = ',')]
    pub attribute_keys: Vec<String>,
    /// What goes wrong from the start, as a JSON object: '{"outage": true}'
    #[arg(long, value_name = "JSON", value_parser = faults)]
    pub faults: Option<Faults>,
}

/// Runs the tenant until it is told to stop.
///
/// # Errors
/// When the port is taken or standard output is closed.
pub async fn run(args: PracticeTenantArgs) -> anyhow::Result<Exit> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let (port, rate, burst) = (args.port, args.rate, args.burst);
    let practice = practice::start(options(args), Clock::system())
        .await
        .with_context(|| format!("cannot start a practice tenant on 127.0.0.1:{port}"))?;
    print(&snippet(&practice, rate, burst)).context("cannot write to standard output")?;
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => pressed.context("cannot listen for Ctrl-C")?,
        _ = terminate.recv() => {}
    }
    practice.stop().await;
    Ok(Exit::Done)
}

fn options(args: PracticeTenantArgs) -> Options {
    Options {
        port: args.port,
        users: args.users,
        seed: args.seed,
        rate_per_second: args.rate,
        burst: args.burst,
        token_lifetime: args.token_lifetime,
        page_cap: args.page_cap,
        bulk: args.bulk,
        bulk_polls: args.bulk_polls,
        bulk_max_operations: args.bulk_max_operations,
        bulk_max_payload: args.bulk_max_payload,
        attribute_keys: args.attribute_keys,
        faults: args.faults.unwrap_or_default(),
        ..Options::default()
    }
}

fn print(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// What to put into `rosterd.toml`, and how to make things go wrong.
fn snippet(practice: &Practice, rate: Option<f64>, burst: u32) -> String {
    let (base, token, control) = (practice.base_url(), practice.token_url(), practice.control_url());
    let client = practice::CLIENT;
    let delivery = rate.map_or_else(String::new, |rate| {
        format!("[tenants.practice.delivery]\nrate_per_second = {rate}\nburst = {burst}\n\n")
    });
    format!(
        "# A practice tenant is listening; Ctrl-C stops it. Put this into rosterd.toml, and set its secrets:\n\
         #   export PRACTICE_CLIENT_ID={client} PRACTICE_CLIENT_SECRET={client}\n\
         # What it has seen, and how to make things go wrong:\n\
         #   curl {control}/stats\n\
         #   curl -X POST {control}/faults -d '{{\"error_rate\": 0.1}}'\n\
         #   curl -X DELETE {control}/faults\n\
         #   curl {control}/creates\n\
         #   curl {control}/webhooks\n\
         #   curl -X POST {control}/users/ID/roles -d '[\"HR_SALES\"]'\n\
         \n\
         [tenants.practice]\n\
         profile = \"genesys-scim\"\n\
         base_url = \"{base}\"\n\
         token_url = \"{token}\"\n\
         client_id = {{ env = \"PRACTICE_CLIENT_ID\" }}\n\
         client_secret = {{ env = \"PRACTICE_CLIENT_SECRET\" }}\n\
         \n\
         {delivery}[tenants.practice.mapping]\n{}",
        rules(&practice::mapping()),
    )
}

fn rules(mapping: &Mapping) -> String {
    mapping.rules().iter().fold(String::new(), |mut text, (role, teams)| {
        let teams: Vec<String> = teams.iter().map(|team| format!("\"{team}\"")).collect();
        writeln!(text, "{role} = [{}]", teams.join(", ")).expect("writing to a string cannot fail");
        text
    })
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate > 0.0 => Ok(rate),
        _ => Err("must be a number above 0, in calls a second".to_owned()),
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err("must be a whole number of at least 1".to_owned()),
    }
}

fn faults(text: &str) -> Result<Faults, String> {
    let faults: Faults = serde_json::from_str(text).map_err(|why| why.to_string())?;
    faults.check().map_err(|why| why.to_string())?;
    Ok(faults)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: PracticeTenantArgs,
    }

    #[test]
    fn wrong_values_are_refused_where_they_are_given() {
        for wrong in [
            ["--rate", "0"],
            ["--rate", "inf"],
            ["--burst", "0"],
            ["--page-cap", "0"],
            ["--token-lifetime", "soon"],
            ["--bulk", "soap"],
            ["--bulk-polls", "0"],
            ["--bulk-max-operations", "0"],
            ["--bulk-max-payload", "many"],
            ["--faults", r#"{"error_rate": 2}"#],
            ["--faults", r#"{"no_such_fault": true}"#],
        ] {
            assert!(Cli::try_parse_from(["t"].iter().chain(&wrong)).is_err(), "{wrong:?}");
        }
        let right = ["t", "--rate", "0.5", "--token-lifetime", "2s", "--faults", r#"{"outage": true}"#];
        let options = options(Cli::try_parse_from(right).expect("legal").args);
        assert_eq!((options.rate_per_second, options.token_lifetime.as_secs()), (Some(0.5), 2));
        assert!(options.faults.outage);
    }

    #[test]
    fn bulk_and_attributes_are_as_it_is_told() {
        let told = |line: &str| options(Cli::try_parse_from(line.split(' ')).expect("legal").args);
        let plain = told("t");
        assert_eq!((plain.bulk, plain.bulk_polls, plain.bulk_max_operations), (BulkMode::Jobs, 1, 100));
        assert!(plain.attribute_keys.is_empty());
        let set = told("t --bulk rfc7644 --bulk-polls 3 --bulk-max-payload 9 --attribute-keys a,b");
        assert_eq!((set.bulk, set.bulk_polls, set.bulk_max_payload), (BulkMode::Rfc7644, 3, 9));
        assert_eq!(set.attribute_keys, ["a", "b"]);
        assert_eq!(told("t --bulk off").bulk, BulkMode::Off);
    }

    #[tokio::test]
    async fn the_snippet_is_a_configuration() {
        let practice = practice::start(Options { users: 1, ..Options::default() }, Clock::system()).await;
        let practice = practice.expect("starts");
        let text = snippet(&practice, Some(50.0), 10);
        let format = config::FileFormat::Toml;
        let read = config::Config::builder().add_source(config::File::from_str(&text, format)).build();
        let read = read.unwrap_or_else(|why| panic!("{why}\n{text}"));
        let tenant = |key: &str| read.get_string(&format!("tenants.practice.{key}")).expect("is set");
        assert_eq!(tenant("base_url"), practice.base_url());
        assert_eq!(tenant("token_url"), practice.token_url());
        assert_eq!(tenant("client_secret.env"), "PRACTICE_CLIENT_SECRET");
        assert_eq!(tenant("delivery.rate_per_second"), "50");
        let rules = read.get_table("tenants.practice.mapping").expect("is set");
        assert_eq!(rules.len(), practice::mapping().rules().len());
        practice.stop().await;
    }
}
