//! Numbers that may be percentages, resolved as Kubernetes does.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// Which way a percentage that gives a fraction goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Round {
    Up,
    Down,
}

/// The number itself, or that percentage of `total`. A text that is no percentage counts as 0;
/// the API server lets none in.
pub(crate) fn resolve(value: &IntOrString, total: i32, round: Round) -> i32 {
    match value {
        IntOrString::Int(number) => *number,
        IntOrString::String(text) => {
            let Some(percent) = text
                .strip_suffix('%')
                .and_then(|digits| digits.parse::<i64>().ok())
            else {
                return 0;
            };
            let hundredths = percent * i64::from(total);
            let resolved = match round {
                Round::Up => {
                    hundredths.div_euclid(100) + i64::from(hundredths.rem_euclid(100) != 0)
                }
                Round::Down => hundredths.div_euclid(100),
            };
            i32::try_from(resolved).unwrap_or(i32::MAX)
        }
    }
}

/// maxSurge and maxUnavailable as numbers. Surge rounds up, unavailability down; if both come
/// out as 0 one pod may be unavailable, or nothing could ever move.
pub(crate) fn surge_and_unavailable(
    surge: Option<&IntOrString>,
    unavailable: Option<&IntOrString>,
    replicas: i32,
) -> (i32, i32) {
    let surge = surge.map_or(0, |value| resolve(value, replicas, Round::Up));
    let unavailable = unavailable.map_or(0, |value| resolve(value, replicas, Round::Down));
    if surge == 0 && unavailable == 0 {
        (0, 1)
    } else {
        (surge, unavailable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn surge_rounds_up_and_unavailability_down() {
        let percent = |text: &str| IntOrString::String(text.to_owned());
        let cases = [
            (percent("25%"), percent("25%"), 10, (3, 2)),
            (percent("25%"), percent("25%"), 1, (1, 0)),
            (percent("25%"), percent("25%"), 4, (1, 1)),
            (percent("0%"), percent("1%"), 2, (0, 1)),
            (percent("100%"), percent("0%"), 3, (3, 0)),
            (IntOrString::Int(2), IntOrString::Int(0), 5, (2, 0)),
            (IntOrString::Int(0), IntOrString::Int(0), 5, (0, 1)),
            (percent("34%"), percent("34%"), 3, (2, 1)),
        ];
        for (surge, unavailable, replicas, expected) in cases {
            let resolved = surge_and_unavailable(Some(&surge), Some(&unavailable), replicas);
            assert_eq!(
                resolved, expected,
                "{surge:?} {unavailable:?} of {replicas}"
            );
        }
    }
}
