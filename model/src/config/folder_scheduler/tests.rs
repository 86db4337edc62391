use serde_json::json;

use super::*;

/// Qwen-Image's own config, with these fields changed.
fn with(changes: &Value) -> FolderScheduler {
    let mut config = json!({
        "_class_name": EULER,
        "base_image_seq_len": 256,
        "base_shift": 0.5,
        "invert_sigmas": false,
        "max_image_seq_len": 8192,
        "max_shift": 0.9,
        "num_train_timesteps": 1000,
        "shift": 1.0,
        "shift_terminal": 0.02,
        "stochastic_sampling": false,
        "time_shift_type": "exponential",
        "use_beta_sigmas": false,
        "use_dynamic_shifting": true,
        "use_exponential_sigmas": false,
        "use_karras_sigmas": null
    });
    for (field, value) in changes.as_object().unwrap() {
        config[field] = value.clone();
    }
    FolderScheduler::resolve(&config, None).unwrap()
}

fn unipc(changes: Value) -> FolderScheduler {
    let mut config = json!({
        "_class_name": UNIPC,
        "use_flow_sigmas": true,
        "prediction_type": "flow_prediction"
    });
    for (field, value) in changes.as_object().unwrap() {
        config[field] = value.clone();
    }
    with(&config)
}

fn refused<T: std::fmt::Debug>(result: Result<T, ConfigError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn the_published_config_is_the_default() {
    assert_eq!(with(&json!({})), FolderScheduler::default());
}

#[test]
fn fields_that_are_not_there_are_those_of_diffusers() {
    let bare = FolderScheduler::resolve(&json!({}), None).unwrap();
    assert_eq!(
        bare.constants,
        SchedulerConfig {
            base_shift: 0.5,
            max_shift: 1.15,
            base_image_seq_len: 256.0,
            max_image_seq_len: 4096.0,
            shift_terminal: None,
            use_dynamic_shifting: false,
            shift: 1.0,
            time_shift_type: TimeShift::Exponential,
        }
    );
    assert_eq!(bare.schedule, Ok(ScheduleKind::Shift(1.0)));
    // The class comes from the folder's index where the config has none.
    let unipc = FolderScheduler::resolve(&json!({"use_flow_sigmas": true}), Some(UNIPC)).unwrap();
    assert!(refused(unipc.sampler).contains("prediction_type = epsilon"));
}

#[test]
fn every_kind_of_levels_is_used() {
    for (field, kind) in [
        ("use_beta_sigmas", ScheduleKind::DynamicBeta),
        ("use_karras_sigmas", ScheduleKind::DynamicKarras),
        ("use_exponential_sigmas", ScheduleKind::DynamicExponential),
    ] {
        assert_eq!(with(&json!({field: true})).schedule, Ok(kind), "{field}");
    }
    let linear = with(&json!({"time_shift_type": "linear"}));
    assert_eq!(linear.constants.time_shift_type, TimeShift::Linear);
    // 0 is as good as none.
    assert_eq!(
        with(&json!({"shift_terminal": 0})).constants.shift_terminal,
        None
    );
    let two = with(&json!({"use_beta_sigmas": true, "use_karras_sigmas": true}));
    assert!(refused(two.schedule).contains("use_karras_sigmas"));
}

#[test]
fn unipc_is_used_as_far_as_it_is_computed_here() {
    let plain = unipc(json!({"shift": 7.0, "flow_shift": 3.0, "use_dynamic_shifting": false}));
    assert_eq!(plain.sampler, Ok(SamplerKind::UniPc));
    assert_eq!(plain.schedule, Ok(ScheduleKind::Dynamic));
    assert_eq!(plain.constants.shift, 3.0);
    assert_eq!(plain.constants.shift_terminal, Some(0.02));
    assert_eq!(
        unipc(json!({"solver_type": "midpoint"})).sampler,
        Ok(SamplerKind::UniPc)
    );
    for (field, value) in [
        ("prediction_type", json!("v_prediction")),
        ("solver_order", json!(3)),
        ("solver_order", json!(1)),
        ("solver_type", json!("bh1")),
        ("predict_x0", json!(false)),
        ("lower_order_final", json!(false)),
        ("thresholding", json!(true)),
        ("disable_corrector", json!([0])),
        ("solver_p", json!({})),
    ] {
        let config = unipc(json!({field: value}));
        let said = refused(config.sampler);
        assert!(said.contains(field), "{field}: {said}");
    }
    for (field, value) in [
        ("use_flow_sigmas", json!(false)),
        ("use_karras_sigmas", json!(true)),
        ("use_exponential_sigmas", json!(true)),
        ("use_beta_sigmas", json!(true)),
        ("final_sigmas_type", json!("sigma_min")),
        ("num_train_timesteps", json!(500)),
    ] {
        let config = unipc(json!({field: value}));
        let said = refused(config.schedule);
        assert!(said.contains(field), "{field}: {said}");
    }
}

#[test]
fn what_is_not_computed_here_is_refused_by_its_name() {
    let stochastic = with(&json!({"stochastic_sampling": true}));
    assert!(refused(stochastic.sampler).contains("stochastic_sampling"));
    assert_eq!(stochastic.schedule, Ok(ScheduleKind::Dynamic));
    for field in ["invert_sigmas", "num_train_timesteps"] {
        let value = match field {
            "invert_sigmas" => json!(true),
            _ => json!(2000),
        };
        let config = with(&json!({field: value}));
        assert!(refused(config.schedule).contains(field), "{field}");
        assert_eq!(config.sampler, Ok(SamplerKind::Euler), "{field}");
    }
    for class in NOT_FOR_THE_PIPELINE {
        let config = with(&json!({"_class_name": class}));
        assert!(refused(config.sampler).contains(class), "{class}");
        assert_eq!(config.schedule, Ok(ScheduleKind::Dynamic), "{class}");
        let bare = FolderScheduler::resolve(&json!({"_class_name": class}), None).unwrap();
        assert!(refused(bare.schedule).contains(class), "{class}");
    }
    let other = with(&json!({"_class_name": "DDIMScheduler"}));
    assert!(refused(other.sampler).contains("DDIMScheduler"));
    assert!(refused(other.schedule).contains("DDIMScheduler"));
}

#[test]
fn numbers_that_make_no_schedule_are_refused() {
    for (field, value) in [
        ("time_shift_type", json!("sideways")),
        ("max_image_seq_len", json!(256)),
        ("shift_terminal", json!(1.5)),
        ("shift", json!(0)),
        ("use_karras_sigmas", json!("yes")),
        ("base_shift", json!("x")),
    ] {
        let mut config = json!({"use_dynamic_shifting": true});
        config[field] = value;
        assert!(FolderScheduler::resolve(&config, None).is_err(), "{field}");
    }
}
