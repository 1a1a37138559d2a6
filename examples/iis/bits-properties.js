// @ts-nocheck: JScript, for Windows Script Host
// Prints the properties of the BITS extension of IIS for one virtual directory. Run it on the IIS server as an
// administrator:
//   cscript //nologo bits-properties.js
// Not run on Windows. After "Writing a Script to Configure the Virtual Directory" of Microsoft.
var path = 'IIS://LocalHost/W3SVC/1/ROOT/upload' // 1: the id of the site; upload: the virtual directory
var names = (
  'BITSUploadEnabled BITSSessionTimeout BITSMaximumUploadSize ' +
  'BITSServerNotificationType BITSServerNotificationURL ' +
  'BITSHostId BITSHostIdFallbackTimeout BITSAllowOverwrites ' +
  'BITSCleanupUseDefault BITSCleanupCount BITSCleanupUnits ' +
  'BITSNumberOfSessionsLimit BITSSessionLimitEnable ' +
  'BITSSessionDirectory BITSUploadMetadataVersion'
).split(' ')
var directory = GetObject(path)
var i
for (i = 0; i < names.length; i++) {
  try {
    WScript.Echo(names[i], '=', directory.Get(names[i]))
  } catch (error) {
    WScript.Echo(names[i], 'is not set:', error.message)
  }
}
