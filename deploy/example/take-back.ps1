<#
  Undoes grant.ps1: the right on deleted objects first, then the account.

    .\take-back.ps1
#>
param([string] $Account = 'svc-portcullis')
$ErrorActionPreference = 'Stop'
$domain = Get-ADDomain
dsacls "CN=Deleted Objects,$($domain.DistinguishedName)" /R "$($domain.NetBIOSName)\$Account" | Out-Null
if ($LASTEXITCODE) { throw 'dsacls could not remove the grant' }
Remove-ADUser -Identity $Account
