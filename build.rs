//! A new migration is compiled in, even when no source file has changed with it.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
