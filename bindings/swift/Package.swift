// swift-tools-version: 5.9
import PackageDescription

// Needs the built library: `cargo build -p clave-ffi`, then `swift build -Xlinker -L../../target/debug`.
let package = Package(
    name: "Clave",
    platforms: [.iOS(.v15), .macOS(.v12)],
    products: [.library(name: "Clave", targets: ["Clave"])],
    targets: [
        .systemLibrary(name: "ClaveFFI", path: "Sources/ClaveFFI"),
        .target(
            name: "Clave",
            dependencies: ["ClaveFFI"],
            path: ".",
            exclude: ["Package.swift", "generated/ClaveFFI.h", "generated/ClaveFFI.modulemap", "Sources/ClaveFFI"],
            sources: ["generated/Clave.swift", "Sources/Clave"]
        ),
    ]
)
