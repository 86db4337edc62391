//! The plan as JSON.

use engine::plan::{Advice, PhaseName, PhasePlan, Plan, Setting, Work, Written};
use serde::Serialize;

use super::remedy::remedy;
use crate::error::CliError;

/// A plan with its advice in words.
#[derive(Serialize)]
struct Told<'a> {
    work: &'a Work,
    setting: &'a Setting,
    phases: &'a [PhasePlan],
    fits: bool,
    advice: Vec<InWords<'a>>,
    beyond_help: &'a [PhaseName],
    images_written: Written,
}

#[derive(Serialize)]
struct InWords<'a> {
    #[serde(flatten)]
    advice: &'a Advice,
    text: String,
}

/// Writes a plan as JSON.
///
/// # Errors
/// [`engine::Error::Internal`] for a number that JSON does not have.
pub(crate) fn json(plan: &Plan) -> Result<String, CliError> {
    let told = Told {
        work: &plan.work,
        setting: &plan.setting,
        phases: &plan.phases,
        fits: plan.fits,
        advice: plan
            .advice
            .iter()
            .map(|advice| InWords {
                advice,
                text: remedy(&advice.remedy),
            })
            .collect(),
        beyond_help: &plan.beyond_help,
        images_written: plan.images_written,
    };
    serde_json::to_string_pretty(&told).map_err(|error| CliError::internal(error.to_string()))
}
