//! Generates the bindings' code from the built library; `just bindings` drives it.

fn main() {
    uniffi::uniffi_bindgen_main();
}
