//! `tollgate tenant …`: what holds for a whole tenant.

use clap::ValueEnum;
use serde_json::{Map, Value, json};

use crate::{
    api_client::{ApiClient, ClientArgs},
    failure::{Exit, Failure, OrFail as _},
    terminal,
};

const EXAMPLES: &str = "\
Examples:
  tollgate tenant show
  tollgate tenant set access_token_ttl=30m strict_code_reuse=true
  tollgate tenant set client_registration.registration=approval
  tollgate tenant set 'egress_allow=[10.20.0.0/16]'
  tollgate tenant set access_token_ttl=                     back to what holds unless told

Values are YAML. `openapi/control-plane.json` (TenantSpec) has all settings; `show` has those that differ from what
holds unless told, and what is in effect.";

/// Show or change what holds for a whole tenant
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Show the tenant's settings, addresses and how far its policy has come
    Show {
        /// How to print them
        #[arg(short, long, value_enum, default_value_t = Output::Yaml)]
        output: Output,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Change settings, and leave the rest
    Set {
        /// Settings of the spec; a dot leads into a group, and nothing behind `=` takes the setting away
        #[arg(value_name = "SETTING=VALUE", required = true)]
        settings: Vec<String>,
        #[command(flatten)]
        client: ClientArgs,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Output {
    Yaml,
    Json,
}

/// Does what the action says.
pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    match args.action {
        Action::Show { output, client } => {
            let shown = ApiClient::from_args(&client)?
                .get(&[], &[])
                .await
                .map_err(|failure| failure.during(format!("cannot show tenant {}", client.tenant)))?;
            match output {
                Output::Json => terminal::print(&terminal::json(&shown)),
                Output::Yaml => terminal::print_data(
                    &serde_saphyr::to_string(&shown).or_fail("the tenant cannot be written as YAML")?,
                ),
            }
            Ok(())
        }
        Action::Set { settings, client } => {
            let spec = patch_of(&settings)?;
            let api = ApiClient::from_args(&client)?;
            let during = |failure: Failure| failure.during(format!("cannot change tenant {}", client.tenant));
            let stored = api
                .find(&[])
                .await
                .map_err(during)?
                .ok_or_else(|| during(Failure::new("there is no such tenant").exit(Exit::NotFound)))?;
            api.patch(&[], &stored.etag, &json!({ "spec": spec })).await.map_err(during)?;
            eprintln!("changed tenant {}", client.tenant);
            Ok(())
        }
    }
}

/// The merge patch (RFC 7396) that makes the settings so.
fn patch_of(settings: &[String]) -> Result<Value, Failure> {
    let mut patch = json!({});
    for setting in settings {
        let wrong = |why: String| {
            let failure = Failure::new(format!("`{setting}` is no setting")).exit(Exit::Usage).why(why);
            failure.cure("write SETTING=VALUE, such as access_token_ttl=30m")
        };
        let (name, text) = setting.split_once('=').ok_or_else(|| wrong("it has no `=`".to_owned()))?;
        let value: Value = match text {
            "" => Value::Null,
            text => serde_saphyr::from_str(text).map_err(|error| wrong(error.to_string().trim_end().to_owned()))?,
        };
        let mut at = &mut patch;
        for part in name.split('.') {
            if part.is_empty() {
                return Err(wrong("its name has an empty part".to_owned()));
            }
            if !at.is_object() {
                *at = Value::Object(Map::new());
            }
            at = &mut at[part];
        }
        *at = value;
    }
    Ok(patch)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patch(settings: &[&str]) -> Result<Value, Failure> {
        patch_of(&settings.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn settings_become_one_patch() {
        let given = ["a=30m", "b.c=true", "b.d=[10.0.0.0/8, x]", "e=", "f=a=b", "g={h: 1}"];
        let expected =
            json!({"a": "30m", "b": {"c": true, "d": ["10.0.0.0/8", "x"]}, "e": null, "f": "a=b", "g": {"h": 1}});
        assert_eq!(patch(&given).expect("settings"), expected);
    }

    #[test]
    fn what_is_no_setting_is_refused_by_name() {
        for wrong in ["a", "=1", "a..b=1", "a=[1"] {
            let failure = patch(&["fine=1", wrong]).expect_err("no setting");
            assert!(failure.to_string().contains(wrong) && failure.code() == Exit::Usage, "{failure}");
        }
    }
}
