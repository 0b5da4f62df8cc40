<#
  What a member's administrator runs once, on a machine with the Active Directory module, to give Portcullis the least it needs:
  one ordinary account that reads what every user may read, and is told of deletions. Nothing else: no write, no replication right.
  take-back.ps1 undoes all of it.

    .\grant.ps1 -Path "OU=Service Accounts,DC=example,DC=nhs,DC=uk"
#>
param(
  [Parameter(Mandatory)] [string] $Path,
  [string] $Account = 'svc-portcullis'
)
$ErrorActionPreference = 'Stop'
$domain = Get-ADDomain

New-ADUser -Name $Account -SamAccountName $Account -UserPrincipalName "$Account@$($domain.DNSRoot)" -Path $Path `
  -Description 'Portcullis, read only' -AccountPassword (Read-Host -AsSecureString "Password of $Account") `
  -KerberosEncryptionType AES128, AES256 -AccountNotDelegated $true -Enabled $true

# List contents and read properties of deleted objects: without it a leaver is only noticed by the next complete pass.
$deleted = "CN=Deleted Objects,$($domain.DistinguishedName)"
dsacls $deleted /takeOwnership | Out-Null
if ($LASTEXITCODE) { throw "dsacls could not take ownership of $deleted" }
dsacls $deleted /G "$($domain.NetBIOSName)\${Account}:LCRP" | Out-Null
if ($LASTEXITCODE) { throw "dsacls could not grant on $deleted" }
Write-Host "$Account may read, and is told of deletions. Take it back with take-back.ps1."
