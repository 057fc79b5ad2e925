//! What providers put around the name of a model.

use crate::base::money::CostBasis;

/// A part that was taken from a name.
pub(super) struct Step {
    /// Which part, in words.
    pub(super) what: String,
    /// The list that the part names.
    pub(super) region: Option<CostBasis>,
}

/// The name without the first of the parts that it has.
pub(super) fn shorter(basis: CostBasis, name: &str) -> Option<(Step, &str)> {
    let step = |what: String| Step { what, region: None };
    if let Some(rest) = name.strip_prefix("models/") {
        return Some((step("without \"models/\"".to_owned()), rest));
    }
    let root = basis.without_region().unwrap_or(basis);
    if root == CostBasis::Bedrock
        && let Some((prefix, rest)) = name.split_once('.')
        && let Some(region) = region(prefix)
    {
        let what = format!("{prefix:?} names the list {}", region.as_str());
        let region = Some(region);
        return Some((Step { what, region }, rest));
    }
    if let Some((rest, version)) = name.rsplit_once('@') {
        return Some((step(format!("without \"@{version}\"")), rest));
    }
    if let Some(rest) = name.strip_suffix("-latest") {
        return Some((step("without \"-latest\"".to_owned()), rest));
    }
    let rest = undated(name)?;
    let date = &name[rest.len()..];
    Some((step(format!("without {date:?}")), rest))
}

/// Whether two names differ at most in the region of a Bedrock profile.
pub(super) fn same_but_region(one: &str, other: &str) -> bool {
    let bare = |name| match str::split_once(name, '.') {
        Some((prefix, rest)) if region(prefix).is_some() || prefix == "us-gov" => rest,
        _ => name,
    };
    bare(one) == bare(other)
}

/// The list for a Bedrock inference profile.
fn region(prefix: &str) -> Option<CostBasis> {
    Some(match prefix {
        "us" => CostBasis::BedrockUs,
        "eu" => CostBasis::BedrockEu,
        "apac" | "jp" | "au" => CostBasis::BedrockAp,
        "global" => CostBasis::Bedrock,
        _ => return None,
    })
}

/// The name without `-20250929` or `-2025-09-29` at its end.
fn undated(name: &str) -> Option<&str> {
    let rest = [("-0000-00-00", 11), ("-00000000", 9)]
        .iter()
        .find_map(|(shape, length)| {
            let (rest, date) = name.split_at_checked(name.len().checked_sub(*length)?)?;
            (date.replace(|char: char| char.is_ascii_digit(), "0") == *shape).then_some(rest)
        });
    rest.filter(|rest| !rest.is_empty())
}
