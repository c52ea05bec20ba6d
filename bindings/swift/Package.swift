// swift-tools-version: 6.0
// On Linux the library is the system's or this repository's: `linux.sh` says where. On Apple's systems it comes as
// ClaveFFI.xcframework, which `xcframework.sh` makes first.
import PackageDescription

#if os(Linux)
let library: Target = .systemLibrary(name: "ClaveFFI", path: "Sources/ClaveFFI")
#else
let library: Target = .binaryTarget(name: "ClaveFFI", path: "ClaveFFI.xcframework")
#endif

let package = Package(
    name: "Clave",
    platforms: [.iOS(.v16), .macOS(.v13)],
    products: [.library(name: "Clave", targets: ["Clave"])],
    targets: [
        library,
        .target(
            name: "Clave",
            dependencies: ["ClaveFFI"],
            path: ".",
            exclude: [
                "generated/ClaveFFI.h", "generated/ClaveFFI.modulemap", "Sources/ClaveFFI", "Tests", "linux.sh",
                "xcframework.sh",
            ],
            sources: ["generated/Clave.swift", "Sources/Clave"]
        ),
        .executableTarget(name: "clave-peer", dependencies: ["Clave"], path: "Tests/Peer"),
        .testTarget(name: "ClaveTests", dependencies: ["Clave"]),
    ],
    swiftLanguageModes: [.v6]
)
