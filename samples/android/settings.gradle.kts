pluginManagement { repositories { google(); mavenCentral(); gradlePluginPortal() } }
dependencyResolutionManagement { repositories { google(); mavenCentral() } }
rootProject.name = "team"
include(":clave")
project(":clave").projectDir = file("../../bindings/kotlin")
